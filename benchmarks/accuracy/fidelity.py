"""How near private embeddings with softmax attention come to the original's: a model as it is, on text that nothing
was fitted to.

    python benchmarks/run.py fidelity [--model DIR] [--texts 334] [--tokens 32 64] [--calibrated 32] [--logits 1 2 4]
        [--kinds ag_news sst2 mrpc FILE]

Embeddings are the fixed-point oracle's (`accuracy/fixed.py`). Estimates and intervals are the product's, from the
shipped sentences (`codegen/compile.py: calibrate_plan`). One row per kind of text, length and factor on W_q, in
`results/fidelity.csv`.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from secfwt.codegen.compile import calibrate_plan
from secfwt.codegen.lowering.program import Lowered, lower
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.weights import Weights, Widened
from secfwt.codegen.owners.embed import Embedder, Settings
from secfwt.codegen.owners.prepare import prepare_weights
from secfwt.codegen.plan.build import build_encoder, build_plan
from secfwt.codegen.plan.graph import Output, Plan, Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import stage_cost
from secfwt.codegen.ring.encoding import Words, decode, encode
from secfwt.codegen.series.ranges import Ranges
from secfwt.codegen.series.softmax import BEYOND, PLATEAU
from secfwt.runtime.data.examples import read_examples
from secfwt.runtime.tuning.model import PACKAGE, default_model

from accuracy.fixed import TabledMachine, evaluated
from accuracy.tasks import DATA
from performance.sweeps import at_least
from rows import RESULTS, command, commit

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Array = NDArray[Any]
BATCH = 48
"""Texts that are computed at once."""
KINDS = {"ag_news": ("dev.tsv", "text"), "sst2": ("dev.tsv", "text"), "mrpc": ("train.tsv", "sentence1")}
"""Data sets with the file and the column that texts are taken from: a model as it is was fitted to none of them."""


@dataclass(frozen=True, kw_only=True)
class FidelityRow:
    """Private embeddings of one kind of text against the original's."""

    model: str
    kind: str
    texts: int
    tokens: int
    """The program's sequence length; longer texts are cut."""
    mean_tokens: float
    calibrated: int
    """Sequence length of the program that was calibrated, and so of the longest public texts."""
    logits: float
    """Factor on W_q, in the original too."""
    cosine_mean: float
    cosine_p5: float
    cosine_min: float
    beyond_plateau: float
    """Share of scores above the plateau, where weights stop growing."""
    below_low: float
    """Share of scores below the interval that G is fitted on, where it is wrong."""
    sums_outside: float
    """Share of rows and heads whose sum of weights leaves the interval that 1/n is fitted on."""
    harmonics: str
    """Of G, layer by layer."""
    megabytes: float
    """Of one text, all parties."""
    rounds: int
    seconds: float
    """Of all texts, in the oracles."""
    processor: str
    commit: str
    command: str

    def __str__(self) -> str:
        return (
            f"{self.kind}, {self.texts} texts of {self.mean_tokens:.0f} tokens in {self.tokens}, "
            f"calibrated at {self.calibrated}, logits x {self.logits:g}: "
            f"cosine {self.cosine_mean:.5f}, 5th percentile {self.cosine_p5:.5f}, least {self.cosine_min:.5f}; "
            f"{self.beyond_plateau:.2%} of scores beyond the plateau, {self.below_low:.1e} below the interval; "
            f"{self.sums_outside:.1e} of sums outside; {self.megabytes:.1f} MB, {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Private:
    """A model with softmax attention, its ring program, and the directions of its embeddings by both."""

    plan: Plan
    weights: Weights
    embedder: Embedder
    ranges: Ranges
    lowered: Lowered
    words: dict[str, Words]

    @classmethod
    def of(cls, model: Path, tokens: int, calibrated: int, logits: float = 1.0) -> Private:
        """Compile; `logits`: factor on W_q. Estimates and intervals are those of the product's program of `calibrated`
        tokens, a public text being no longer than its program. Raises `ProblemsFound` where none serve."""
        options = GenOptions(
            sequence_length=tokens, n_prompt_tokens=0, attention="softmax", head="prototypes", label_texts=("a", "b")
        )
        spec, fitting = read_model(model, options), replace(options, sequence_length=calibrated)
        weights, embedder = prepare_weights(model, spec, fitting)
        for name in [name for name in weights if ".q." in name]:
            weights[name] = weights[name] * np.float32(logits)
        product = build_plan(spec, fitting)
        calibrate_plan(product, weights, spec, fitting, embedder, None)
        embedder = Embedder(embedder.tokenizer, embedder.tables, Settings.of(spec, options))
        plan = build_encoder(spec, options)
        pooled, size = plan.outputs.pop().value, spec.hidden_size
        weights["head.prototypes"] = np.eye(size, dtype=np.float32)  # all numbers of the unit vector are read
        role = {"prototypes": "head.prototypes"}
        plan.outputs.append(
            Output("unit", plan.add("cosine", (pooled,), shape=(size,), bound=1.0, weights=role, temperature=1.0))
        )
        ranges = Ranges(product.meta["calibration"])
        lowered = lower(plan, Widened(weights), ranges)
        return cls(plan, weights, embedder, ranges, lowered, lowered.words(Widened(weights)))

    def embeddings(self, inputs: Mapping[str, Array]) -> Array:
        """Unit vectors `[E, h]` by the fixed-point oracle, up to its rounding."""
        ring = self.lowered.ring
        examples = {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("example")}
        machine = TabledMachine(ring.fits, self.words | examples)
        (output,) = ring.outputs
        words = evaluated(ring, machine, {}, {output.value})[output.value]
        return decode(words, ring[output.value].scale).reshape(len(inputs["x"]), -1)

    def inputs(self, texts: list[str]) -> dict[str, Array]:
        """What the data owner shares of texts."""
        given = self.embedder.encode(texts)[0]
        return {v.attrs["name"]: given[v.attrs["name"]] for v in self.plan.inputs("example")}


@dataclass
class Shares:
    """How many of the values that layers see leave the intervals of their fits."""

    ranges: Ranges
    scores: int = 0
    sums: int = 0
    beyond: int = 0
    below: int = 0
    outside: int = 0

    def observe(self, site: str, values: Array) -> None:
        """Count what the float oracle reports of a site."""
        if site.endswith(".score"):
            self.scores += values.size
            self.beyond += int(np.sum(values > PLATEAU))
            self.below += int(np.sum((values < self.ranges.lowest_score(site)) | (values > PLATEAU + BEYOND)))
        elif site.endswith(".row_sum"):
            low, high = self.ranges.row_sum(site)
            self.sums += values.size
            self.outside += int(np.sum((values < low) | (values > high)))


def measure(private: Private, kind: str, texts: list[str], model: str, calibrated: int, logits: float) -> FidelityRow:
    """One row, with progress on the way."""
    began, shares, cosines, lengths = time.monotonic(), Shares(private.ranges), [], []
    for start in range(0, len(texts), BATCH):
        inputs = private.inputs(texts[start : start + BATCH])
        exact = run_plan(private.plan, private.weights, inputs, observe=shares.observe, dtype=np.float32)["unit"]
        exact, got = exact.reshape(len(inputs["x"]), -1), private.embeddings(inputs)
        cosines.append((exact * got).sum(-1) / np.linalg.norm(exact, axis=-1) / np.linalg.norm(got, axis=-1))
        lengths.append(inputs["mask"].sum(-1))
        print(f"\r{kind}: {start + len(got)} of {len(texts)}", end="", flush=True)
    print(end="\r\x1b[K")
    cosine, ring, tokens = np.concatenate(cosines), private.lowered.ring, private.plan[0].shape[0]
    cost = stage_cost(ring, Stage.EXAMPLE, 1)
    roots = [len(ring.fits[v.attrs["fit"]].m) for v in ring if v.kind == "fourier" and v.shape[-2:] == (tokens,) * 2]
    return FidelityRow(
        model=model, kind=kind, texts=len(texts), tokens=tokens,
        mean_tokens=float(np.concatenate(lengths).mean()), calibrated=calibrated,
        logits=logits, cosine_mean=float(cosine.mean()),
        cosine_p5=float(np.quantile(cosine, 0.05)), cosine_min=float(cosine.min()),
        beyond_plateau=shares.beyond / shares.scores, below_low=shares.below / shares.scores,
        sums_outside=shares.outside / shares.sums, harmonics=" ".join(map(str, roots)),
        megabytes=cost.bytes / 1e6, rounds=cost.rounds, seconds=time.monotonic() - began, processor=processor(),
        commit=commit(), command=command(),
    )  # fmt: skip


def processor() -> str:
    """The machine's processor by name."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def append(path: Path, row: DataclassInstance) -> None:
    """Add one row; a new file gets a header."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(row)])
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(row).items()})


def texts_of(kind: str, data: Path, count: int) -> list[str]:
    """The first texts of a data set by its folder's name, or the lines of a file."""
    if kind in KINDS:
        file, column = KINDS[kind]
        return [str(example.text) for example in read_examples(data / kind / file, text_column=column)[:count]]
    return [line for line in Path(kind).read_text("utf-8").splitlines() if line.strip()][:count]


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--model", type=Path, help="MiniLM where it is not given")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="data sets, or files with one text per line")
    parser.add_argument("--texts", type=at_least(1), default=334, help="of each kind")
    parser.add_argument("--tokens", nargs="+", type=at_least(3), default=[32, 64])
    parser.add_argument("--calibrated", type=at_least(3), help="tokens of the program that is calibrated, if fewer")
    parser.add_argument("--logits", nargs="+", type=float, default=[1.0], help="factors on W_q")
    parser.add_argument("--out", type=Path, default=RESULTS / "fidelity.csv")


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    model = options.model or default_model()
    for tokens, logits in product(options.tokens, options.logits):
        calibrated = min(tokens, options.calibrated or tokens)
        private = Private.of(model, tokens, calibrated, logits)
        for kind in options.kinds:
            texts = texts_of(kind, options.data, options.texts)
            row = measure(private, Path(kind).stem, texts, name_of(model), calibrated, logits)
            print(row, flush=True)
            append(options.out, row)


def name_of(model: Path) -> str:
    """A model directory by its own name; MiniLM's, inside its package, is only `model`."""
    return PACKAGE if model.name == "model" else model.name
