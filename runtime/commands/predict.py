"""`secfwt-predict`: labels of texts under the prompt of a finished run."""

from __future__ import annotations

from collections.abc import Sequence

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.ending import exit_codes
from ..prediction.options import PredictOptions

COMMAND = Command(
    "secfwt-predict",
    (PredictOptions,),
    "Label texts with a tuned prompt, by private inference: neither the texts nor the model is shown to anyone.\n\n"
    "Opened to the data owner: the logits of these texts, once. They stay in the run's folder, so that a command\n"
    "that was interrupted goes on where it was, and nothing is opened or counted twice.",
    "secfwt-predict --run runs/first --data new.csv -o predictions.csv",
)
AGAIN = "go on with the same command: rows of logits that were opened are kept in the run's folder"


def predict_command(typed: Typed) -> None:
    """Label texts."""
    with exit_codes(lambda: AGAIN):
        options = typed.make(PredictOptions)

        from rich.console import Console

        from ..prediction.session import predict

        predict(options, Console(stderr=options.output is None, highlight=False))


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    COMMAND.run(predict_command, words)
