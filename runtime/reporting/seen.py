"""Who saw what of a run: the program's outputs, by how often each was opened, and what the parties hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...codegen.plan.graph import LOSS_HEALTH, Output


@dataclass(frozen=True)
class Seen:
    """Somebody's view."""

    who: str
    what: str
    how_often: str


OPENED = {"loss": "losses", LOSS_HEALTH: "losses", "logits": "rows of logits"}
"""What a run counts of each output."""
WHAT = {
    "loss": "the mean loss of one candidate prompt over one set",
    LOSS_HEALTH: "the mean loss of one candidate prompt over one set, and how many rows came out wrong",
    "logits": "the logits of one of its own texts under one prompt",
}


PUBLIC = {
    "base": "; all of the model is public but what its LoRA adapter changes",
    "public": "; all of the model is public",
}
"""By whose the weights are (`--weights`), what the data owner may know besides."""


def views(
    outputs: Sequence[Output], opened: Mapping[str, int], private: bool, clear_layers: int, weights: str = "private"
) -> list[Seen]:
    """Who saw what of a program with these outputs, of which so many of each kind were `opened`.

    `clear_layers`: lowest layers that the data owner runs. `weights`: whose they are.
    """
    if not private:
        return [Seen("this process", "weights, examples, prompts, losses and logits, as they are", "always")]
    below = f" and the lowest {clear_layers} layers" if clear_layers else ""
    return [
        *(Seen("data owner", _what(each), _often(each, opened)) for each in outputs if each.keep is None),
        Seen(
            "data owner",
            f"the model's embedding tables{below}, its own texts and prompts{PUBLIC.get(weights, '')}",
            "always",
        ),
        Seen("model owner", "its own weights; no result", "always"),
        Seen(
            "each computing party",
            "shares of weights, examples, candidates and results, and of what is kept of shots, which alone are "
            "random; the program, and the sizes of sets and steps",
            "always",
        ),
    ]


def _what(output: Output) -> str:
    noise = f", with noise of standard deviation {output.noise:g} from each party" if output.noise else ""
    return WHAT[output.name] + noise


def _often(output: Output, opened: Mapping[str, int]) -> str:
    limit = "without a limit" if output.max_opened is None else f"of at most {output.max_opened} with these weights"
    return f"{opened.get(OPENED[output.name], 0)} times, {limit}"
