"""How near a private decoder comes to the original as a language model: perplexity, and the tokens that it would say.

    python benchmarks/run.py perplexity --model DIR|FILE.gguf [--texts 16] [--tokens 64] [--kinds ag_news FILE]

Rows behind the last layer are the fixed-point oracle's (`accuracy/fixed.py`), logits the embeddings' products with
them: models whose output matrix is their embeddings. Estimates and intervals are the product's, from the shipped
sentences. One row per kind of text in `results/perplexity.csv`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from secfwt.codegen.compile import calibrate_plan
from secfwt.codegen.lowering.program import Lowered, lower
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.weights import Weights, Widened
from secfwt.codegen.owners.embed import Embedder
from secfwt.codegen.owners.prepare import prepare_weights, settled
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Output, Plan, Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import stage_cost
from secfwt.codegen.ring.encoding import Words, decode, encode
from secfwt.codegen.series.elementary import log_sum_exp
from secfwt.codegen.series.ranges import Ranges

from accuracy.fidelity import KINDS, append, processor, texts_of
from accuracy.fixed import TabledMachine, evaluated
from accuracy.tasks import DATA
from performance.sweeps import at_least
from rows import RESULTS, command, commit

Array = NDArray[Any]
BATCH = 4
"""Texts that are computed at once."""


@dataclass(frozen=True, kw_only=True)
class PerplexityRow:
    """A private decoder against the original, on the tokens of texts but the first of each."""

    model: str
    kind: str
    texts: int
    tokens: int
    """The program's sequence length; longer texts are cut."""
    predicted: int
    """Tokens of all texts that are predicted from those before."""
    clear: float
    """Perplexity of the original with softmax in float32."""
    private: float
    kl: float
    """Mean divergence of the private distribution from the original's, in nats."""
    same_top: float
    """Share of rows whose most likely token is the original's."""
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
            f"{self.kind}, {self.texts} texts in {self.tokens}, {self.predicted} tokens: "
            f"perplexity {self.private:.2f}, in the clear {self.clear:.2f}; "
            f"KL {self.kl:.4f}, {self.same_top:.1%} of top tokens the same; "
            f"{self.megabytes:.1f} MB, {self.rounds} rounds, {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class LanguageModel:
    """A decoder whose last rows are all read, and its ring program."""

    plan: Plan
    weights: Weights
    embedder: Embedder
    lowered: Lowered
    words: Mapping[str, Words]

    @classmethod
    def of(cls, model: Path, tokens: int) -> LanguageModel:
        """Compile. Raises `ProblemsFound` where no intervals serve."""
        options = GenOptions(
            sequence_length=tokens, n_prompt_tokens=0, attention="softmax", head="prototypes", label_texts=("a", "b")
        )
        spec = read_model(model, options)
        options = settled(model, spec, options)
        weights, embedder = prepare_weights(model, spec, options)
        plan = build_plan(spec, options)
        calibrate_plan(plan, weights, spec, options, embedder, None)
        (rows,) = (v.id for v in plan if v.kind == "final_norm")
        plan = replace(plan, values=plan.values[: rows + 1], outputs=[Output("rows", rows)])
        wide = Widened(weights)
        lowered = lower(plan, wide, Ranges(plan.meta["calibration"]))
        return cls(plan, weights, embedder, lowered, lowered.words(wide))

    def log_likelihoods(self, rows: Array) -> Array:
        """Log probabilities `[E, R, V]` of what follows each of the rows `[E, R, h]` behind the last norm."""
        row = rows * self.weights["final_norm.gamma"] + self.weights["final_norm.beta"]
        logits = row.astype(np.float32) @ self.weights["embeddings.word"].T
        return np.asarray(logits - log_sum_exp(logits))

    def rows(self, inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        """Rows `[E, R, h]` behind the last norm, in the clear and by the fixed-point oracle."""
        ring = self.lowered.ring
        given = {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("example")}
        (output,) = ring.outputs
        machine = TabledMachine(ring.fits, {**self.words, **given})
        got = decode(evaluated(ring, machine, {}, {output.value})[output.value], ring[output.value].scale)
        exact = run_plan(self.plan, self.weights, inputs, dtype=np.float32)["rows"]
        return exact.reshape(len(inputs["x"]), -1, got.shape[-1]), got.reshape(len(inputs["x"]), -1, got.shape[-1])


def measure(model: LanguageModel, kind: str, texts: list[str], name: str, tokens: int) -> PerplexityRow:
    """One row, with progress on the way."""
    began, found = time.monotonic(), []
    for start in range(0, len(texts), BATCH):
        ids = [each.ids for each in model.embedder.tokenise(texts[start : start + BATCH])[0]]
        inputs = model.embedder.embed(ids, [[0] * len(row) for row in ids])
        for row, exact, got in zip(ids, *map(model.log_likelihoods, model.rows(inputs)), strict=True):
            exact, got, following = exact[-len(row) : -1], got[-len(row) : -1], np.array(row[1:])
            said = [np.take_along_axis(p, following[:, None], -1)[:, 0] for p in (exact, got)]
            kl = (np.exp(exact) * (exact - got)).sum(-1)
            found.append(np.stack([*said, kl, exact.argmax(-1) == got.argmax(-1)]))
        print(f"\r{kind}: {start + len(ids)} of {len(texts)}", end="", flush=True)
    print(end="\r\x1b[K")
    clear, private, kl, same = np.concatenate(found, axis=-1)
    cost = stage_cost(model.lowered.ring, Stage.EXAMPLE, 1)
    return PerplexityRow(
        model=name, kind=kind, texts=len(texts), tokens=tokens, predicted=kl.size,
        clear=float(np.exp(-clear.mean())), private=float(np.exp(-private.mean())), kl=float(kl.mean()),
        same_top=float(same.mean()), megabytes=cost.bytes / 1e6, rounds=cost.rounds, seconds=time.monotonic() - began,
        processor=processor(), commit=commit(), command=command(),
    )  # fmt: skip


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--kinds", nargs="+", default=["ag_news"], help=f"{', '.join(KINDS)}, or files of lines")
    parser.add_argument("--texts", type=at_least(1), default=16, help="of each kind")
    parser.add_argument("--tokens", type=at_least(3), default=64)
    parser.add_argument("--out", type=Path, default=RESULTS / "perplexity.csv")


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    read = {kind: texts_of(kind, options.data, options.texts) for kind in options.kinds}
    model = LanguageModel.of(options.model, options.tokens)
    for kind, texts in read.items():
        row = measure(model, Path(kind).stem, texts, options.model.stem, options.tokens)
        print(row, flush=True)
        append(options.out, row)
