"""From a model to programs in memory: the steps of `secfwt-gen` in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .commandline.problems import Report
from .hub.layout import transformer_folder
from .lowering.loss import loss_width
from .lowering.program import Lowered, lower
from .model.adapter import Adapter, choose_attention
from .model.hf import read_model
from .model.options import GenOptions
from .model.spec import ModelSpec
from .model.weights import Weights, Widened
from .owners.calibration import calibrate
from .owners.embed import Embedder
from .owners.log_sum import log_sums
from .owners.prepare import prepare_weights
from .plan.build import build_plan
from .plan.graph import Plan
from .ring.encoding import Words
from .ring.program import RingProgram
from .ring.text import program_text
from .series.ranges import Ranges

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
"""What ships with the package: topics, MiniLM's adapter, public sentences."""
CALIBRATION_TEXTS = 48


@dataclass(frozen=True)
class Covered:
    """Half width of the interval of differences of logits that losses are fitted on, and the most wrong rows per
    example that `--health` shows while values are inside their ranges (None: it shows none). Both are in the program.
    """

    loss_width: float
    health: float | None


@dataclass(frozen=True)
class Compiled:
    """Everything that follows from a model and options; `weights` and `embedder` are None for a bare config.json."""

    spec: ModelSpec
    options: GenOptions
    plan: Plan
    lowered: Lowered
    weights: Weights | None
    embedder: Embedder | None

    @property
    def ring(self) -> RingProgram:
        """The ring program."""
        return self.lowered.ring

    @property
    def covered(self) -> Covered:
        """What the data owner must know to tell that values have left the program's ranges."""
        ranges = Ranges(self.plan.meta.get("calibration", {}))
        return Covered(loss_width(ranges), self.lowered.health)

    @property
    def text(self) -> str:
        """The ring program's file."""
        return program_text(self.ring)


def compile_model(
    source: Path, options: GenOptions, adapter: Path | None = None, calibration: list[str] | None = None
) -> Compiled:
    """Read a model and lower it.

    `source`: a config.json (program only, ranges and norms assumed) or a model directory. `calibration`: public texts
    that the intervals of the non-linearities are taken from; without them the adapter's own record, or seeded random
    words.
    Raises `ProblemsFound` with all problems of the step that found any.
    """
    report = Report()
    options, given = choose_attention(source, adapter, options)
    spec = read_model(source, options)
    plan = build_plan(spec, options)
    if source.is_file() or not has_checkpoint(source):
        for name, value in (("--adapter", adapter), ("--calibration-text", calibration)):
            if value is not None:
                report.error(f"{name} is given, but {source} holds no weights", "Give a model directory.")
        report.check()
        return Compiled(spec, options, plan, lower(plan, None, Ranges()), None, None)
    weights, embedder = prepare_weights(source, spec, options, given)
    calibrate_plan(plan, weights, spec, options, embedder, given, calibration)
    lowered = lower(plan, Widened(weights), Ranges(plan.meta["calibration"]))
    return Compiled(spec, options, plan, lowered, weights, embedder)


def calibrate_plan(
    plan: Plan,
    weights: Weights,
    spec: ModelSpec,
    options: GenOptions,
    embedder: Embedder,
    given: Adapter | None,
    texts: list[str] | None = None,
) -> None:
    """Put what public text shows of a model into its plan (`calibration`) and, for softmax attention, its weights
    (`log_sum`).

    `given`: the adapter, whose own record counts where there are no texts.
    """
    if options.attention == "softmax":
        texts = texts or public_sentences()
    inputs = _calibration_inputs(plan, spec, options, embedder, texts)
    if options.attention == "softmax":
        weights |= log_sums(plan, weights, [inputs])
    sites = calibrate(plan, weights, [inputs])
    if given is not None and texts is None:
        sites |= given.description.calibration
    plan.meta["calibration"] = sites


def public_sentences() -> list[str]:
    """The public text that ships with the package: what softmax attention is calibrated on where none is given."""
    return (EXAMPLES / "sentences" / "sentences.txt").read_text("utf-8").splitlines()


def has_checkpoint(directory: Path) -> bool:
    """Whether a directory holds weights in any format (those that cannot be read are reported when they are)."""
    return any(
        any(transformer_folder(directory).glob(pattern)) for pattern in ("*.safetensors*", "pytorch_model*", "*.bin")
    )


def _calibration_inputs(
    plan: Plan, spec: ModelSpec, options: GenOptions, embedder: Embedder, texts: list[str] | None
) -> dict[str, Any]:
    """Example and candidate inputs that calibration runs on."""
    rng = np.random.default_rng(options.seed)
    inputs: dict[str, Any] = {}
    if texts is not None:
        inputs |= embedder.encode(texts)[0]
        inputs["labels"] = np.eye(spec.head.num_labels)[rng.integers(spec.head.num_labels, size=len(texts))]
    else:
        first, *last = embedder.tokenizer.encode("").ids
        room = options.sequence_length - 1 - len(last)
        lengths = rng.integers(min(3, room), room + 1, CALIBRATION_TEXTS)
        words = [[first, *rng.integers(spec.vocab_size, size=n).tolist(), *last] for n in lengths]
        inputs |= embedder.embed(words, [[0] * len(w) for w in words])
        if "select" in inputs and spec.head.rows == "select":
            inputs["select"] = np.eye(options.sequence_length)[np.full(len(words), 1)]
        inputs["labels"] = np.eye(spec.head.num_labels)[rng.integers(spec.head.num_labels, size=len(words))]
        inputs["example_weight"] = np.full((len(words), 1), 1 / len(words))
    for v in plan.inputs("candidate"):
        inputs[v.attrs["name"]] = np.concatenate([np.zeros((1, v.size)), rng.normal(size=(2, v.size))])
    return inputs


def encoded_weights(compiled: Compiled) -> dict[str, Words]:
    """The model owner's folded weights in ring elements (int64), by name."""
    assert compiled.weights is not None
    return compiled.lowered.words(Widened(compiled.weights))
