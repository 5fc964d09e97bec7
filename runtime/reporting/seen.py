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

    `clear_layers`: lowest layers that the data owner runs. `weights`: whose they are. Of several data owners it is the
    coordinator's run.
    """
    if not private:
        return [Seen("this process", "weights, examples, prompts, losses and logits, as they are", "always")]
    below = f" and the lowest {clear_layers} layers" if clear_layers else ""
    owner = "each data owner" if any(each.min_owners for each in outputs) else "data owner"
    return [
        *(_seen(each, owner, opened) for each in outputs if each.keep is None),
        Seen(
            owner,
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


def _seen(output: Output, owner: str, opened: Mapping[str, int]) -> Seen:
    if output.min_owners:
        return Seen("coordinator", _what(output), _often(output, opened))
    how_often = _often(output, opened) if owner == "data owner" else "when it measures the prompt by itself"
    return Seen(owner, _what(output), how_often)


def _what(output: Output) -> str:
    what = WHAT[output.name]
    if output.min_owners:
        summed = f"over one set of {output.min_owners} data owners or more besides itself, 1/16 of each example's"
        what = what.replace("the mean loss", "the sum of losses").replace("over one set", summed)
    noise = f", with noise of standard deviation {output.noise:g} from each party" if output.noise else ""
    return what + noise


def _often(output: Output, opened: Mapping[str, int]) -> str:
    limit = "without a limit" if output.max_opened is None else f"of at most {output.max_opened} with these weights"
    return f"{opened.get(OPENED[output.name], 0)} times, {limit}"
