"""`secfwt-adapter`: the model owner's server of a private LoRA adapter, for `--engine split`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.options import ENGINE, MODEL, Option, check


@dataclass(frozen=True)
class AdapterOptions:
    """Which adapter of which base, where, and how much of it is told."""

    model: Annotated[Path, Option("Directory or GGUF file of the base, which is public.", MODEL, metavar="DIR")]
    lora: Annotated[Path, Option("LoRA adapter of PEFT's: the secret.", MODEL, metavar="DIR")]
    deployment: Annotated[
        Path, Option('TOML file that says where this server is (engine = "split").', ENGINE, metavar="FILE")
    ]
    max_rows: Annotated[
        int,
        Option("Rows that are answered in all, per set of modules that share them; 0: any number.", ENGINE, at_least=0),
    ] = 0
    stop_with_stdin: Annotated[bool, Option("End when standard input does.", ENGINE)] = False

    def __post_init__(self) -> None:
        check(self).check()


COMMAND = Command(
    "secfwt-adapter",
    (AdapterOptions,),
    "Serve a private LoRA adapter to a data owner that runs the public base itself (--engine split), until ended.",
    "secfwt-adapter --model DIR --lora DIR --deployment split.toml",
)


def adapter_command(typed: Typed) -> None:
    """Serve."""
    import socket
    import sys
    import threading
    import time

    from ..errors import BundleError, DeploymentError
    from ..parties.certificates import server_context
    from ..parties.deployment import Deployment
    from .adapters import served
    from .encryption.bfv import Scheme
    from .server import AdapterServer

    options = typed.make(AdapterOptions)
    deployment = Deployment.load(options.deployment)
    if deployment.engine != "split":
        raise BundleError(
            f"deployment {options.deployment} is for --engine {deployment.engine}, this server's is split"
        )
    scheme = Scheme()
    what = served(options.model, options.lora, options.max_rows, scheme.modulus)
    context = server_context(deployment.certificates, "party0")
    party = deployment.parties[0]
    try:
        listening = socket.create_server((party.listen or party.host, party.port))
    except OSError as error:
        raise DeploymentError(f"cannot listen on {party.listen_address}: {error.strerror or error}") from None
    if options.stop_with_stdin:

        def wait() -> None:
            sys.stdin.buffer.read()
            listening.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=wait, daemon=True).start()

    def log(text: str) -> None:
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)

    log(f"serves {len(what.adapters)} calls of {options.lora} at {party.listen_address}")
    print("listening", flush=True)
    AdapterServer(scheme, what, context, log).serve(listening)


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-adapter`."""
    COMMAND.run(adapter_command, words)


if __name__ == "__main__":
    main()
