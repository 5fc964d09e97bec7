"""Which feature map stands in for softmax at what length: attention transfer with each, and what a layer then sends.

    python benchmarks/run.py feature-maps [--variants folded relu2] [--features 16 32] [--tokens 64 256] [--layers 1 3]

Stage 1 of a conversion (`runtime/adaptation/features.py`), every layer on the original's own rows, and the error of the
attention's output on texts that it was not trained on: AG News's, one after the other until they have as many tokens.
One row per variant, count of features, length and layer in `results/feature_maps.csv`; with --adapter also those of an
adapter's features as they are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.adapter import read_adapter
from secfwt.codegen.model.checkpoint import load_checkpoint
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import FeatureVariant, GenOptions
from secfwt.codegen.model.spec import ModelSpec
from secfwt.codegen.owners.calibration import summary
from secfwt.codegen.owners.check import fitting_tokenizer
from secfwt.codegen.owners.embed import Embedder, Settings, embedding_tables
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES
from secfwt.codegen.owners.sequences import bare_ids
from secfwt.codegen.plan.build import build_encoder
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.cost import stage_cost
from secfwt.codegen.series.ranges import Ranges
from secfwt.runtime.adaptation.corpus import Corpus, DecoderCorpus
from secfwt.runtime.adaptation.features import Recipe, hard_to_invert, initial_features
from secfwt.runtime.adaptation.forward import attend, encode
from secfwt.runtime.adaptation.student import Architecture, Parameters, Rows, Trace, linear
from secfwt.runtime.data.examples import read_examples
from secfwt.runtime.tuning.model import default_model
from torch import Tensor

from accuracy.fidelity import append, name_of, processor
from accuracy.tasks import DATA
from performance.sweeps import at_least
from rows import RESULTS, command, commit

Tensors = dict[str, Tensor]
Sites = dict[str, Tensor]
UNSEEN = 64
"""Texts that errors are measured on."""


@dataclass(frozen=True, kw_only=True)
class FeatureMapRow:
    """One feature map in one layer."""

    model: str
    variant: str
    features: int
    """Per head; φ has twice as many."""
    tokens: int
    texts: int
    """That were trained on."""
    steps: int
    """0: an adapter's features as they are."""
    rate: float
    layer: int
    error: float
    """Squared error of the attention's output over its squares, on unseen texts."""
    megabytes: float
    """Of one text through such a layer, all parties, by the cost model."""
    seconds: float
    """Of the training of all layers."""
    processor: str
    commit: str
    command: str

    def __str__(self) -> str:
        return (
            f"layer {self.layer}, {self.variant}, {self.features} features, {self.tokens} tokens, {self.steps} steps "
            f"at {self.rate:g}: error {self.error:.3f}, {self.megabytes:.2f} MB, {self.seconds:.0f} s"
        )


def joined(ids: list[list[int]], tokens: int) -> Iterator[list[int]]:
    """Texts of so many tokens, of shorter ones one after the other, each without its [CLS] but for the first."""
    text: list[int] = []
    for each in ids:
        text += each if not text else each[1:]
        if len(text) >= tokens:
            yield [*text[: tokens - 1], each[-1]]
            text = []


def read(model: Path, data: Path, tokens: int, count: int) -> tuple[ModelSpec, Corpus, Corpus]:
    """The model's description, and texts to train on and to measure on."""
    options = GenOptions(
        sequence_length=tokens, n_prompt_tokens=0, attention="softmax", head="prototypes", label_texts=("yes", "no")
    )
    spec = read_model(model, options)
    weights = load_checkpoint(model, spec)
    embedder = Embedder(fitting_tokenizer(model, spec), embedding_tables(weights), Settings.of(spec, options))
    embedder.tokenizer.no_padding()
    embedder.tokenizer.no_truncation()
    teacher = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}

    def corpus(file: str, count: int) -> Corpus:
        texts = [str(each.text) for each in read_examples(data / "ag_news" / file, text_column="text")]
        if spec.causal:
            first = first_token(embedder.tokenizer, spec, weights, PROBES)
            ids = [[first, *bare_ids(embedder.tokenizer, text)] for text in texts]
        else:
            ids = [each.ids for each in embedder.tokenizer.encode_batch(texts)]
        chosen = [text for text, _ in zip(joined(ids, tokens), range(count), strict=False)]
        return (DecoderCorpus if spec.causal else Corpus)(
            chosen, embedder, teacher, batch_rows=1024, padded=(tokens, tokens)
        )

    return spec, corpus("train.tsv", count), corpus("dev.tsv", max(1, min(UNSEEN, count // 4)))


@dataclass(frozen=True)
class Lessons:
    """The original's own rows and attention outputs, layer by layer, in batches that are made once."""

    batches: list[tuple[list[Trace], Rows]]
    teacher: Parameters

    @classmethod
    @torch.no_grad()
    def of(cls, corpus: Corpus, shape: Architecture) -> Lessons:
        """Of all texts of a corpus."""
        batches = []
        for x, rows in corpus.all():
            traces = encode(x, rows, corpus.teacher, shape, adapted=False)[0]
            kept = [replace(t, sites={"hidden": t.sites["hidden"]}, sums={}) for t in traces]
            batches.append((kept, rows))
        return cls(batches, corpus.teacher)

    def unexplained(self, batch: int, layer: int, weights: Parameters, shape: Architecture) -> tuple[Tensor, Sites]:
        """Squared error of a layer's attention output over its squares, and what the student's attention saw."""
        traces, rows = self.batches[batch]
        context, sites = attend(traces[layer].sites["hidden"], rows, weights, layer, shape)
        target = traces[layer].attention
        return (linear(context, weights, f"layers.{layer}.o") - target).square().sum() / target.square().sum(), sites


def transferred(
    lessons: Lessons, start: Parameters, layer: int, shape: Architecture, steps: int, rate: float
) -> Tensors:
    """Features of one layer after so many steps on one batch each, by the loss of stage 1."""
    own = {n: t.clone().requires_grad_() for n, t in start.items() if n.startswith(f"layers.{layer}.")}
    optimiser = torch.optim.Adam(own.values(), lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        batch = int(rng.integers(len(lessons.batches)))
        error, sites = lessons.unexplained(batch, layer, {**lessons.teacher, **own}, shape)
        loss = error + Recipe.floor_weight * hard_to_invert(sites, shape)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(own.values()), 1.0)
        optimiser.step()
        schedule.step()
    return {name: tensor.detach() for name, tensor in own.items()}


@torch.no_grad()
def errors_and_sites(
    lessons: Lessons, weights: Parameters, layers: list[int], shape: Architecture
) -> tuple[list[float], dict[str, dict[str, float]]]:
    """Error of each layer's attention output on the original's rows, and the ranges of what the features saw."""
    errors, seen = [], {}
    for layer in layers:
        found = [lessons.unexplained(batch, layer, weights, shape) for batch in range(len(lessons.batches))]
        errors.append(float(np.mean([float(error) for error, _ in found])))
        for site in found[0][1]:
            values = np.concatenate([sites[site].numpy().ravel() for _, sites in found])
            seen[f"layers.{layer}.{site}"] = summary(values)
    return errors, seen


def sent(
    spec: ModelSpec, shape: Architecture, tokens: int, attention: Literal["softmax", "rfa"], ranges: Ranges
) -> float:
    """Megabytes of one text through one layer, all parties, by the cost model."""
    options = GenOptions(
        sequence_length=tokens, n_prompt_tokens=0, attention=attention, rfa_variant=shape.variant,
        rfa_features=max(shape.features, default=1), rfa_floor=shape.floor,
    )  # fmt: skip
    ring = lower(build_encoder(spec, options, 1), None, ranges).ring
    return stage_cost(ring, Stage.EXAMPLE, 1).bytes / 1e6


@dataclass(frozen=True)
class Bench:
    """A model at one length: what trains, what measures, and where rows go."""

    model: Path
    tokens: int
    options: argparse.Namespace
    spec: ModelSpec
    training: Corpus
    lessons: Lessons
    held_out: Lessons
    plain: Architecture

    @classmethod
    def of(cls, model: Path, tokens: int, options: argparse.Namespace) -> Bench:
        """Read the model and the texts, and run the original over them."""
        spec, training, unseen = read(model, options.data, tokens, options.texts)
        plain = Architecture(
            layers=max(options.layers) + 1, heads=spec.num_attention_heads, hidden=spec.hidden_size,
            eps=spec.layer_norm_eps, act=spec.hidden_act, decoder=spec if spec.causal else None,
        )  # fmt: skip
        lessons, held_out = Lessons.of(training, plain), Lessons.of(unseen, plain)
        return cls(model, tokens, options, spec, training, lessons, held_out, plain)

    def record(self, shape: Architecture, weights: Parameters, steps: int, rate: float, began: float) -> None:
        """A row per layer."""
        seconds = time.monotonic() - began
        errors, sites = errors_and_sites(self.held_out, weights, self.options.layers, shape)
        for layer, error in zip(self.options.layers, errors, strict=True):
            ranges = Ranges({site.replace(f"layers.{layer}.", "layers.0."): seen for site, seen in sites.items()})
            alike = replace(shape, features=(shape.features[layer],))
            name = self.model.stem if self.model.is_file() else name_of(self.model)
            row = FeatureMapRow(
                model=name, variant=shape.variant, features=shape.features[layer], tokens=self.tokens,
                texts=len(self.training.texts), steps=steps, rate=rate, layer=layer, error=error,
                megabytes=sent(self.spec, alike, self.tokens, "rfa", ranges), seconds=seconds,
                processor=processor(), commit=commit(), command=command(),
            )  # fmt: skip
            print(row, flush=True)
            append(self.options.out, row)

    def adapter(self, path: Path) -> None:
        """An adapter's features on the original's rows, with its values and output, as in stage 1."""
        adapter = read_adapter(path)
        tensors = {
            name: torch.from_numpy(np.asarray(t, np.float32)) for name, t in adapter.tensors.items()
            if ".phase_" in name or ".feature_" in name
        }  # fmt: skip
        shape = replace(self.plain, variant=adapter.description.variant, features=adapter.features)
        self.record(shape, {**self.training.teacher, **tensors}, 0, 0.0, time.monotonic())

    def trained(self, variant: FeatureVariant, features: int, rate: float) -> None:
        """Features as stage 1 makes them."""
        began = time.monotonic()
        shape = replace(self.plain, variant=variant, features=(features,) * self.plain.layers)
        start, weights = initial_features(self.training, shape, Recipe()), dict(self.training.teacher)
        for layer in self.options.layers:
            weights |= transferred(self.lessons, start, layer, shape, self.options.steps, rate)
        self.record(shape, weights, self.options.steps, rate, began)


def main(options: argparse.Namespace) -> None:
    """Train, measure, print and record."""
    torch.set_num_threads(options.threads)
    for tokens in options.tokens:
        bench = Bench.of(options.model or default_model(), tokens, options)
        softmax = sent(bench.spec, bench.plain, tokens, "softmax", Ranges())
        print(f"{tokens} tokens: softmax sends {softmax:.2f} MB per layer, on assumed ranges")
        if options.adapter:
            bench.adapter(options.adapter)
        for variant, features, rate in product(options.variants, options.features, options.rate):
            bench.trained(variant, features, rate)


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--model", type=Path, help="MiniLM where it is not given")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--adapter", type=Path, help="also that of this adapter, as it is")
    parser.add_argument("--variants", nargs="*", choices=("folded", "paper", "relu2"), default=["folded", "relu2"])
    parser.add_argument("--features", nargs="+", type=at_least(1), default=[16, 32])
    parser.add_argument("--tokens", nargs="+", type=at_least(3), default=[64, 256])
    parser.add_argument("--layers", nargs="+", type=int, default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--texts", type=at_least(1), default=480, help="to train on")
    parser.add_argument("--steps", type=at_least(1), default=300)
    parser.add_argument("--rate", nargs="+", type=float, default=[Recipe.lr])
    parser.add_argument("--threads", type=at_least(1), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS / "feature_maps.csv")
