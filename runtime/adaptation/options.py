"""What the user of `secfwt-convert` chooses; kept in the conversion's run folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ...codegen.commandline.options import ATTENTION, DATA, ENGINE, MODEL, RUN, TRAINING, Option, check
from ...codegen.model.options import AdaptedActivation, FeatureVariant
from ..errors import SecfwtError


class ConversionError(SecfwtError):
    """An input that cannot be used; the message names it and what would be accepted."""


@dataclass(frozen=True)
class ConvertOptions:
    """Options of a conversion; with other `features`, the defaults made the shipped MiniLM adapter."""

    model: Annotated[str, Option("Hugging Face directory of a BERT-like model.", MODEL, ("MODEL",))]
    out: Annotated[str, Option("Directory of the result.", RUN, metavar="DIR")]
    text: Annotated[
        tuple[str, ...],
        Option("Public texts, one per line; with :M-N only a file's records M to N.", DATA, metavar="FILE[:M-N]"),
    ]
    held_out: Annotated[
        tuple[str, ...],
        Option("Texts to measure on.", DATA, metavar="FILE[:M-N]", default="1 in 20 of --text"),
    ] = ()
    output: Annotated[Literal["adapter", "model"], Option("A small adapter, or a whole model directory.", RUN)] = (
        "adapter"
    )
    base: Annotated[
        str, Option("Name of the original that adapter.json gives.", RUN, default="that of its directory")
    ] = ""
    features: Annotated[
        str,
        Option(
            "Random features per head: one count, one per layer with commas between, or auto.", ATTENTION, metavar="N"
        ),
    ] = "32"
    feature_error: Annotated[
        float,
        Option(
            "With auto: largest error of a layer's attention output that fewer features may cause.", ATTENTION, above=0
        ),
    ] = 0.45
    feature_kind: Annotated[
        Literal["learned", "random"], Option("random: orthogonal features, as drawn.", ATTENTION)
    ] = "learned"
    rfa: Annotated[
        FeatureVariant,
        Option(
            "Feature map in place of softmax: cosines and sines of learned phases of hidden rows; paper: of q and k of "
            "unit length; relu2: squared ReLUs of learned projections of hidden rows, whose weights are not negative.",
            ATTENTION,
        ),
    ] = "folded"
    floor: Annotated[
        float, Option("The attention denominator, per feature and row, is never taken below this.", ATTENTION, above=0)
    ] = 0.02
    merge_heads: Annotated[
        int,
        Option(
            "Keep softmax, and add the scores of that many heads before it: one head in place of each such group; "
            "takes --output model. 1: a feature map instead.",
            ATTENTION, at_least=1, metavar="M",
        ),
    ] = 1  # fmt: skip
    rank: Annotated[int, Option("Of the low-rank changes of the other matrices; 0: none.", TRAINING, at_least=0)] = 16
    layer_steps: Annotated[int, Option("Steps of stage 1: every layer alone.", TRAINING, at_least=0)] = 600
    steps: Annotated[int, Option("Steps of stage 2: end to end.", TRAINING, at_least=0)] = 3400
    fitted_steps: Annotated[int, Option("Steps of stage 3: through the protocol's fits.", TRAINING, at_least=0)] = 250
    splice: Annotated[
        float, Option("Part of the texts that get another's tail while training.", TRAINING, at_least=0, at_most=1)
    ] = 0.2
    exchange: Annotated[
        float,
        Option(
            "Part of the tokens, in every other text, that near ones of the embedding table stand in for.",
            TRAINING, at_least=0, at_most=1,
        ),
    ] = 0.2  # fmt: skip
    gelu_limit: Annotated[
        float,
        Option(
            "Inputs of the activation beyond this are penalised: a narrow interval takes less traffic.",
            TRAINING,
            above=0,
        ),
    ] = 10.0
    activation: Annotated[AdaptedActivation, Option("The student's activation.", MODEL, default="the original's")] = ""
    harmonics: Annotated[
        int,
        Option(
            "Of the activation's fit; 0: as many as an error of 2e-3 takes. Fewer are coarser and cost less traffic.",
            MODEL, at_least=0,
        ),
    ] = 0  # fmt: skip
    device: Annotated[Literal["auto", "cpu", "cuda"], Option("Where the training runs.", ENGINE)] = "auto"
    seed: Annotated[int, Option("Seed of features and training.", TRAINING, at_least=0)] = 0

    def __post_init__(self) -> None:
        check(self).check()

    def feature_counts(self, layers: int) -> tuple[int, ...] | None:
        """Features of every layer; None: to be chosen. Raises `ConversionError`."""
        if self.features == "auto":
            return None
        try:
            counts = tuple(int(count) for count in self.features.split(","))
        except ValueError:
            counts = ()
        if len(counts) not in (1, layers) or min(counts, default=0) < 1:
            raise ConversionError(
                f"--features is {self.features}: accepted: one count, {layers} of them with commas between "
                "(a layer each), or auto"
            )
        return counts * layers if len(counts) == 1 else counts
