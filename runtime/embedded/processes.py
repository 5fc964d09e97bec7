"""Parties of the embedded VM: the command line of one, and three as processes of this machine."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ...codegen.native.binaries import VM, find
from ...codegen.native.defaults import TILE_WORDS
from ..errors import SecfwtError
from ..parties.certificates import host_name
from ..parties.deployment import Deployment
from ..parties.processes import PartyProcesses
from ..run_folder import private_file


class PartyError(SecfwtError):
    """A party that cannot be started."""


def public_weights(program: Path) -> Path:
    """Where a party looks for the numbers that a program's text names the hashes of."""
    return program.with_suffix(".weights")


def vm_command(deployment: Deployment, party: int, program: Path) -> list[str]:
    """Command line of one party. Raises BinaryMissing, or PartyError where files are missing."""
    folder = deployment.certificates
    files = {"--program": program, "--ca": folder / "ca.pem"}
    files |= {f"--{option}": folder / f"party{party}.{ending}" for option, ending in (("cert", "pem"), ("key", "key"))}
    for path in files.values():
        if not path.is_file():
            raise PartyError(f"party {party} needs {path}, which is missing")
    if (public := public_weights(program)).is_file():
        files["--public-weights"] = public
    command = [str(find(VM)), "--party", str(party), "--listen", deployment.parties[party].listen_address]
    for i, each in enumerate(deployment.parties):
        command += [f"--peer{i}", each.address]
    for option, path in files.items():
        command += [option, str(path)]
    numbers = {
        "--threads": deployment.threads or len(os.sched_getaffinity(0)),
        "--lanes": deployment.lanes,
        "--tile-words": TILE_WORDS,
        "--ahead-mb": deployment.ahead_mb,
        "--connect-timeout": deployment.connect_timeout,
        "--idle-timeout": deployment.idle_timeout,
        "--command-timeout": deployment.command_timeout,
    }
    for option, number in numbers.items():
        command += [option, str(number)]
    if deployment.data_owners:
        command += ["--owners", ",".join(map(host_name, deployment.data_owners))]
        command += ["--coordinator", host_name(deployment.coordinator)]
    if deployment.pins:
        command += ["--pins", ",".join(f"{host_name(name)}={pin}" for name, pin in deployment.pins.items())]
    return command


class LocalParties(PartyProcesses):
    """Three parties as processes of this machine, for as long as the context lasts.

    They end when this process does, however it ends. Their messages go to `logs/party<i>.log`. Raises PartyError when
    one cannot start.
    """

    def __init__(self, deployment: Deployment, program: Path, logs: Path) -> None:
        super().__init__()
        self.deployment = deployment
        self._logs = [logs / f"party{i}.log" for i in range(3)]
        self._commands = [vm_command(deployment, i, program) for i in range(3)]

    def start(self) -> None:
        """Start all three; returns when they serve clients."""
        try:
            for command, log in zip(self._commands, self._logs, strict=True):
                log.parent.mkdir(parents=True, exist_ok=True)
                with private_file(log) as file:
                    # The pipe to its standard input breaks when this process dies, and the party ends.
                    self._processes.append(
                        subprocess.Popen(
                            [*command, "--stop-with-stdin"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True,
                        )
                    )  # fmt: skip
            self._wait_until_ready()
        except OSError as error:
            self.close()
            raise PartyError(f"the parties cannot be started: {_place(error, self._commands[0][0])}") from None
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.deployment.connect_timeout
        with selectors.DefaultSelector() as selector:
            for i, process in enumerate(self._processes):
                assert process.stdout is not None
                selector.register(process.stdout, selectors.EVENT_READ, i)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise PartyError(f"the parties were not ready after {self.deployment.connect_timeout} s")
                failed = [key.data for key, _ in ready if os.read(key.fd, 64) != b"listening\n"]
                if failed:
                    raise PartyError(self._why(failed))
                for key, _ in ready:
                    selector.unregister(key.fileobj)

    def _why(self, failed: Sequence[int]) -> str:
        """Last line of the log of the party that failed first (the others only miss it)."""
        texts = []
        for i in failed:
            self._processes[i].wait()
            lines = self._logs[i].read_text(errors="replace").split("usage:")[0].strip().splitlines()
            texts.append(f"party {i} did not start: {lines[-1] if lines else 'no message'} (log: {self._logs[i]})")
        return "; ".join(texts)


def _place(error: OSError, program: str) -> str:
    """What the system refused: the program, or a file that it needs."""
    return f"{error.filename or program}: {error.strerror or error}"


def become_party(command: list[str]) -> NoReturn:
    """Replace this process by a party. Raises PartyError."""
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise PartyError(f"the party cannot be started: {_place(error, command[0])}") from None
