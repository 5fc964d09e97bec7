"""`secfwt-evaluate`: what the prompt of a finished run is worth on labelled texts."""

from __future__ import annotations

from collections.abc import Sequence

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.ending import exit_codes
from ..prediction.options import EvaluateOptions
from .predict import AGAIN

COMMAND = Command(
    "secfwt-evaluate",
    (EvaluateOptions,),
    "Measure a tuned prompt on labelled texts, by private inference: accuracy, macro F1, calibration error and all\n"
    "classes, with 95 % intervals, as text, JSON and a figure.\n\n"
    "Opened to the data owner: the logits of these texts, once per prompt. Those of the run's test set are in its\n"
    "folder already.",
    "secfwt-evaluate --run runs/first --data test.csv --prompt both",
)


def evaluate_command(typed: Typed) -> None:
    """Measure."""
    with exit_codes(lambda: AGAIN):
        options = typed.make(EvaluateOptions)

        from rich.console import Console

        from ..prediction.session import evaluate

        evaluate(options, Console(highlight=False))


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    COMMAND.run(evaluate_command, words)
