"""The choices of a comparison: what is computed, how it is run, what counts as a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...codegen.commandline.options import ATTENTION, ENGINE, MODEL, RUN, SEARCH, Option, check
from ...codegen.model.options import LORA, AttentionChoice
from ...codegen.mpspdz.options import RoundNearest
from ...codegen.mpspdz.protocols import PROTOCOLS
from ..tuning.options import MpSpdzFolder

EMBEDDED = "embedded"
NAMES = (EMBEDDED, *PROTOCOLS)


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where results go."""

    model: Annotated[
        Path, Option("config.json (random weights of that shape) or a model directory.", MODEL, ("MODEL",))
    ]
    protocols: Annotated[
        str,
        Option(
            f"Some of {', '.join(NAMES)}, separated by commas.", ENGINE, metavar="NAMES",
            default="all: embedded, and what MP-SPDZ has here",
        ),
    ] = "all"  # fmt: skip
    mp_spdz: MpSpdzFolder = ""
    out: Annotated[Path | None, Option("Folder for results.", RUN, metavar="DIR", default="runs/compare-<time>")] = None


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    tokens: Annotated[int, Option("Tokens per example.", MODEL, ("--tokens", "--sequence-length"), at_least=3)] = 32
    candidates: Annotated[int, Option("Prompts that a step evaluates.", SEARCH, at_least=1)] = 2
    examples: Annotated[int, Option("Examples that every prompt is evaluated on.", SEARCH, at_least=1)] = 2
    layers: Annotated[int, Option("Lowest layers to run; 0: all.", MODEL, at_least=0)] = 0
    prompt_layer: Annotated[int, Option("Layer whose input gets the prompt.", MODEL, at_least=0)] = 0
    attention: Annotated[
        AttentionChoice,
        Option(
            "Softmax, or random features. auto: random features where the model was converted, else softmax.",
            ATTENTION,
        ),
    ] = "auto"
    adapter: Annotated[
        Path | None, Option("Attention adapter of the model (see secfwt-convert).", ATTENTION, metavar="DIR")
    ] = None
    lora: Annotated[Path | None, LORA] = None
    seed: Annotated[int, Option("Seed of weights and inputs.", SEARCH, at_least=0)] = 1

    def __post_init__(self) -> None:
        check(self).check()


@dataclass(frozen=True)
class Choices:
    """How a step is run, how often, and what counts as a result."""

    runs: Annotated[int, Option("Runs of the step; seconds are their median.", RUN, at_least=1)] = 3
    seconds: Annotated[
        float, Option("Seconds that one protocol may take, from start to last result.", RUN, ("--timeout",), above=0)
    ] = 900.0
    error: Annotated[
        float, Option("Largest distance of a right loss or logit from the oracle's.", RUN, ("--tolerance",), above=0)
    ] = 0.25
    round_nearest: RoundNearest = False

    def __post_init__(self) -> None:
        check(self).check()
