"""`secfwt-export`: a tuned prompt as PEFT's prompt tuning keeps it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...codegen.commandline.command import Command, Typed
from ..prediction.options import ExportOptions

COMMAND = Command(
    "secfwt-export",
    (ExportOptions,),
    "Write a tuned prompt in the layout of PEFT's prompt tuning, for whoever holds the model in the clear.\n\n"
    "It takes a run with --prompt-at start, whose prompt stands where PEFT's does. The prompt is the data owner's\n"
    "secret, and says something of its examples.",
    "secfwt-export --run runs/first -o prompt",
)


def export_command(typed: Typed) -> None:
    """Write the prompt."""
    options = typed.make(ExportOptions)

    from ..prediction.export import export_peft
    from ..prediction.tuned import TunedRun

    tuned = TunedRun.open(options.run, {})
    names = export_peft(tuned, options.output)
    if tuned.shots:
        print("warning: the run's shots are no part of it: PEFT has no place for them", file=sys.stderr)
    print(f"wrote {options.output}: {', '.join(names)}")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    COMMAND.run(export_command, words)
