"""`secfwt-join`: a data owner takes part in a search over several owners' examples."""

from __future__ import annotations

from collections.abc import Sequence

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.ending import exit_codes
from .options import JoinOptions

COMMAND = Command(
    "secfwt-join",
    (JoinOptions,),
    "Share examples with the parties, and stay while a coordinator tunes a prompt on all data owners' examples.\n\n"
    "Opened to the coordinator: for each candidate one loss, the sum over all owners' examples. Every step is said\n"
    "and logged. Opened to this owner: the prompt in the end, and its logits on this owner's own test set.",
    "secfwt-join --deployment d.toml --bundle bundle --data mine.csv",
)
AGAIN = "the parties have let go of these examples; to join again, repeat the command with --run and the log's folder"


def join_command(typed: Typed) -> None:
    """Join, and stay."""
    with exit_codes(lambda: AGAIN):
        options = typed.make(JoinOptions)

        from rich.console import Console

        from .joining import join

        join(options, Console(highlight=False))


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-join`."""
    COMMAND.run(join_command, words)


if __name__ == "__main__":
    main()
