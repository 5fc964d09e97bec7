"""From a model to programs in memory: the steps of `secfwt-gen` in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .commandline.problems import Report
from .hub.gguf import gguf_file
from .hub.layout import transformer_folder
from .intervals import serve
from .lowering.loss import loss_width
from .lowering.program import Lowered, lower
from .model.adapter import Adapter, choose_attention
from .model.hf import read_model
from .model.lora.changes import Lora
from .model.lora.choice import choose_head, choose_weights
from .model.options import GenOptions
from .model.spec import ModelSpec
from .model.weights import Weights, Widened
from .owners import continuations
from .owners.embed import Embedder
from .owners.prepare import prepare_weights, settled
from .owners.public_text import (
    DECODER_ROWS,
    NEURON_ROWS,
    fewer_texts,
    fitting_texts,
    of_random_words,
    of_texts,
    reads,
)  # fmt: skip
from .plan.build import build_plan
from .plan.graph import Plan
from .ring.encoding import Words
from .ring.program import RingProgram
from .ring.text import program_text
from .series.ranges import Ranges

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
"""What ships with the package: topics, MiniLM's adapter, public sentences."""


@dataclass(frozen=True)
class Covered:
    """Half width of the interval of differences of logits that losses are fitted on, and the most wrong rows per
    example that `--health` shows while values are inside their ranges (None: it shows none); between what the loss of
    an example lies whatever the example is (None: it is not clipped). All are in the program.
    """

    loss_width: float
    health: float | None
    clipped: tuple[float, float] | None = None


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
        return Covered(loss_width(ranges), self.lowered.health, self.lowered.clipped)

    @property
    def text(self) -> str:
        """The ring program's file."""
        return program_text(self.ring)


def compile_model(
    source: Path,
    options: GenOptions,
    adapter: Path | None = None,
    calibration: list[str] | None = None,
    prompt: Path | None = None,
    lora: Path | None = None,
) -> Compiled:
    """Read a model, decide its attention, and lower it (`compile_chosen`).

    Raises `ProblemsFound` with all problems of the step that found any.
    """
    return compile_chosen(source, *choose_attention(source, adapter, options), calibration, prompt, lora)


def compile_chosen(
    source: Path,
    options: GenOptions,
    given: Adapter | None,
    calibration: list[str] | None = None,
    prompt: Path | None = None,
    lora: Path | None = None,
) -> Compiled:
    """Lower a model with the attention that `options` name.

    `source`: a config.json (program only, ranges and norms assumed) or a model directory. `given`: the adapter that
    the options are of. `calibration`: public texts that the intervals of the non-linearities are taken from; without
    them the adapter's own record, or what ships. `prompt`: folder of a prompt of PEFT's, which the search begins from.
    `lora`: folder of a LoRA adapter of PEFT's. Raises `ProblemsFound` with all problems of the step that found any.
    """
    report = Report()
    options = choose_head(source, options, lora)
    spec = read_model(source, options)
    if not has_checkpoint(source):
        for name, value in (
            ("--adapter", given), ("--calibration-text", calibration), ("--initial-prompt", prompt), ("--lora", lora),
        ):  # fmt: skip
            if value is not None:
                report.error(f"{name} is given, but {source} holds no weights", "Give a model directory.")
        report.check()
        options, _ = choose_weights(spec, options, None)
        plan = build_plan(spec, options)
        return Compiled(spec, options, plan, lower(plan, None, Ranges()), None, None)
    options, changes = choose_weights(spec, options, lora, given)
    options = settled(source, spec, options, changes)
    return compile_settled(source, spec, options, given, calibration, prompt, changes)


def compile_settled(
    source: Path, spec: ModelSpec, options: GenOptions, given: Adapter | None = None,
    calibration: list[str] | None = None, prompt: Path | None = None, lora: Lora | None = None,
) -> Compiled:  # fmt: skip
    """Lower a model directory's model, whose options are `settled`. Raises `ProblemsFound`."""
    plan = build_plan(spec, options)
    weights, embedder = prepare_weights(source, spec, options, given, prompt, lora)
    lowered = calibrate_plan(plan, weights, spec, options, embedder, given, calibration)
    if options.private_ranks:
        # where they are merged, their ranks stay with the model owner
        ranks = options.private_ranks if lowered.factored else ()
        options = replace(options, lora_products="factored" if ranks else "merged", private_ranks=ranks)
    return Compiled(spec, options, plan, lowered, weights, embedder)


def calibrate_plan(
    plan: Plan,
    weights: Weights,
    spec: ModelSpec,
    options: GenOptions,
    embedder: Embedder,
    given: Adapter | None,
    texts: list[str] | None = None,
) -> Lowered:
    """Take a model's intervals and estimates from public text, and the ring program that is right with them
    (`intervals.serve`).

    `texts`: by default an adapter's (`given`) own record counts, and without one the sentences that ship. Random words
    show the head and the loss, which are in no adapter's record, and what a tokenizer knows that has not the words of
    the texts. Neurons' reach is in no record either: the sentences show it. Raises `ProblemsFound`.
    """
    if spec.head.kind == "tokens":
        continued = continuations.of_texts(plan, spec, options, embedder, texts or public_sentences())
        return serve(plan, weights, options, [continued], adapted=False)
    known = given.description.calibration or None if given is not None and texts is None else None
    fitting = fitting_texts(texts or public_sentences(), options)
    if spec.causal or known is not None:
        fitting = fewer_texts(fitting, options, DECODER_ROWS if known is None else NEURON_ROWS)
    shown, readable = of_texts(plan, spec, options, embedder, fitting), reads(embedder, fitting)
    inputs = [shown] if known is None else []
    if known is not None or not readable:
        inputs.append(of_random_words(plan, spec, options, embedder))
    more = [shown] if known is not None and readable else []
    return serve(plan, weights, options, inputs, adapted=given is not None, known=known, more=more)


def public_sentences() -> list[str]:
    """The public text that ships with the package: what a model is calibrated on where none is given."""
    return (EXAMPLES / "sentences" / "sentences.txt").read_text("utf-8").splitlines()


def has_checkpoint(directory: Path) -> bool:
    """Whether a directory holds weights in any format (those that cannot be read are reported when they are), or a file
    is a GGUF file."""
    if gguf_file(directory) is not None:
        return True
    return directory.is_dir() and any(
        any(transformer_folder(directory).glob(pattern)) for pattern in ("*.safetensors*", "pytorch_model*", "*.bin")
    )


def encoded_weights(compiled: Compiled) -> dict[str, Words]:
    """The model owner's folded weights in ring elements (int64), by name."""
    assert compiled.weights is not None
    return compiled.lowered.secret_words(Widened(compiled.weights))


def public_numbers(compiled: Compiled) -> Iterator[bytes]:
    """The file of public weights that the program names the hashes of, piece by piece; nothing where it has none."""
    assert compiled.weights is not None
    return compiled.lowered.public_numbers(Widened(compiled.weights))
