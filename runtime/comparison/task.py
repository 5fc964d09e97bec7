"""What every protocol is given to compute: one model, one set of examples, one generation of candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ...codegen.compile import Compiled, has_checkpoint
from ...codegen.intervals import observe, serve
from ...codegen.lowering.program import Lowered, lower
from ...codegen.model.adapter import choose_attention
from ...codegen.model.hf import has_classifier, read_model
from ...codegen.model.lora.choice import choose_head, choose_weights
from ...codegen.model.lora.reading import brought_labels
from ...codegen.model.options import GenOptions, RoundsChoice
from ...codegen.model.spec import ModelSpec
from ...codegen.model.weights import Weights, Widened
from ...codegen.owners.embed import Embedder
from ...codegen.owners.prepare import prepare_weights
from ...codegen.plan.build import build_plan
from ...codegen.plan.graph import Plan
from ...codegen.plan.oracle import run_plan
from ...codegen.series.ranges import Ranges
from ..engine import Batch, Floats
from ..errors import SecfwtError
from .options import Size
from .random_weights import normalised_rows, random_weights

LABELS = ("world", "world sport", "world sport business", "world sport business science")
"""Of models without a classifier. Of different lengths: a tokenizer that knows none of the words tells them apart."""


class TaskError(SecfwtError):
    """A choice that the model has no room for."""


@dataclass(frozen=True)
class Task:
    """One step of tuning, with the float64 oracle's results."""

    name: str
    spec: ModelSpec
    options: GenOptions
    plan: Plan
    weights: Weights
    batch: Batch
    z: Floats
    """Candidates `[C, d]`."""
    losses: Floats
    logits: Floats
    """Of the first candidate, `[E, L]`."""

    tried: Lowered | None = None
    """The ring program of a checkpoint, which was tried when its intervals were chosen."""

    @cached_property
    def compiled(self) -> Compiled:
        """For the embedded VM. Raises ProblemsFound."""
        program = self.tried or self.lowered(self.options.rounds)
        return Compiled(self.spec, self.options, self.plan, program, self.weights, None)

    def lowered(self, rounds: RoundsChoice) -> Lowered:
        """The ring program in one of its variants. Raises ProblemsFound."""
        plan = build_plan(self.spec, replace(self.options, rounds=rounds))
        return lower(plan, Widened(self.weights), Ranges(self.plan.meta["calibration"]))


def make_task(source: Path, size: Size) -> Task:
    """Everything from a config.json (random weights of that shape) or a model directory; the same for the same seed.

    Raises ProblemsFound, TaskError.
    """
    brought = brought_labels(size.lora) if size.lora else 0
    options = GenOptions(
        sequence_length=size.tokens, prompt_layer=size.prompt_layer, popsize=max(2, size.candidates), seed=size.seed,
        head="classification" if (classifier := has_classifier(source) or brought) else "prototypes",
        label_texts=() if classifier else LABELS, intrinsic_dim=32, attention=size.attention,
    )  # fmt: skip
    options, given = choose_attention(source, size.adapter, options)
    checkpoint = source.is_dir() and has_checkpoint(source)
    if size.lora and not checkpoint:
        raise TaskError(f"--lora is given, but {source} holds no weights: give a model directory")
    options = choose_head(source, options, size.lora)
    whole = read_model(source, options)
    options, lora = choose_weights(whole, replace(options, weights="auto"), size.lora, given)
    if size.layers > whole.num_hidden_layers:
        raise TaskError(f"--layers is {size.layers}: the model has {whole.num_hidden_layers}")
    if size.layers and size.prompt_layer >= size.layers:
        raise TaskError(
            f"--prompt-layer is {size.prompt_layer}: of --layers {size.layers}, the last is {size.layers - 1}"
        )
    spec = replace(whole, num_hidden_layers=size.layers or whole.num_hidden_layers)
    plan = build_plan(spec, options)
    rng = np.random.default_rng(size.seed)
    weights: Weights
    if checkpoint:
        weights, embedder = prepare_weights(source, whole, options, given, lora=lora)
        inputs = _embedded_words(embedder, whole.vocab_size, size, rng)
    else:
        weights = dict(random_weights(plan, spec, options, rng))
        inputs = _random_rows(spec, size, rng)
    labels = rng.integers(spec.head.num_labels, size=size.examples)
    inputs["labels"] = np.eye(spec.head.num_labels)[labels]
    inputs["example_weight"] = np.full((size.examples, 1), 1 / size.examples)
    batch = Batch({name: inputs[name] for name in (str(v.attrs["name"]) for v in plan.inputs("example"))})
    (candidate,) = plan.inputs("candidate")
    z = rng.normal(size=(size.candidates, *candidate.shape))
    # every engine's ranges are those of this very step
    step, tried = {**batch.inputs, "z": z}, None
    if checkpoint:
        tried = serve(plan, weights, options, [step], adapted=given is not None)
    else:
        observe(plan, weights, options, [step])
    outputs = run_plan(plan, weights, step)
    name = source.name if source.is_dir() else source.stem
    return Task(name, spec, options, plan, weights, batch, z, outputs["loss"], outputs["logits"][0], tried)


def _random_rows(spec: ModelSpec, size: Size, rng: np.random.Generator) -> dict[str, Floats]:
    return {
        "x": normalised_rows((size.examples, size.tokens, spec.hidden_size), rng),
        "mask": np.ones((size.examples, size.tokens)),
        "select": np.full((size.examples, size.tokens), 1 / size.tokens),
    }


def _embedded_words(embedder: Embedder, vocabulary: int, size: Size, rng: np.random.Generator) -> dict[str, Floats]:
    """Examples of random words, as long as they may be."""
    first, *last = embedder.tokenizer.encode("").ids
    words = rng.integers(vocabulary, size=(size.examples, size.tokens - 1 - len(last))).tolist()
    ids = [[first, *row, *last] for row in words]
    inputs: Mapping[str, Floats] = {
        name: np.asarray(values, np.float64)
        for name, values in embedder.embed(ids, [[0] * size.tokens] * len(ids)).items()
    }
    return dict(inputs)
