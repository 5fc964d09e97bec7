"""The command line of `compare.py`: a model and protocols in, a table out."""

from __future__ import annotations

from collections.abc import Sequence

from ...codegen.commandline.command import Command, Typed
from ..comparison.options import Choices, Comparison, Size

COMMAND = Command(
    "secfwt-compare",
    (Comparison, Size, Choices),
    "Run one step of prompt tuning under several protocols, on local parties, and compare time, traffic and error.\n\n"
    "Writes comparison.csv, comparison.png and the parties' logs. Exit code 0 when at least one protocol succeeded,\n"
    "1 when none did, 2 for options and models that are refused, 130 for an interruption, which keeps what is done.",
    "secfwt-compare config.json --protocols embedded,ring --layers 1 --tokens 64",
)


def compare_command(typed: Typed) -> int:
    """Measure what was asked for; returns the exit code."""
    comparison, size, choices = typed.make(Comparison, Size, Choices)

    from ..comparison.session import compare

    return compare(comparison, size, choices)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    COMMAND.run(compare_command, words)
