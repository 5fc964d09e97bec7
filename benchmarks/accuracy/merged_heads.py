"""Models with merged heads (`secfwt-convert --merge-heads`): how near they are to the original, and what they send.

Embeddings in the clear: their cosines to the original's, and how many of a task's texts are nearest to the right label
text. Megabytes and rounds are those of one text through all layers, all parties, by the cost model on intervals that
are calibrated as `secfwt-gen` does.

    python benchmarks/run.py merged-heads --model runs/minilm-2 runs/minilm-4
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from secfwt.codegen.compile import compile_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import ModelSpec
from secfwt.codegen.model.weights import Weights
from secfwt.codegen.owners.embed import Embedder
from secfwt.codegen.plan.build import build_encoder
from secfwt.codegen.plan.graph import Plan, Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import Estimate, stage_cost
from secfwt.runtime.data.examples import Example, read_examples
from secfwt.runtime.tuning.model import default_model

from accuracy.fidelity import append, name_of
from accuracy.tasks import AG_NEWS, DATA, SST_2, Task
from rows import RESULTS, command, commit

BATCH = 50
KINDS = ((AG_NEWS, 400), (SST_2, 100))
"""Texts of each task that cosines are taken of: the first of its dev file, as `examples/minilm-rfa` has them."""


@dataclass(frozen=True, kw_only=True)
class MergedHeadsRow:
    """One model; accuracies in percent, of as many texts as the task has for tests."""

    model: str
    heads: int
    tokens: int
    texts: int
    cosine: float
    cosine_5th: float
    ag_news: float
    sst2: float
    megabytes: float
    rounds: int
    commit: str
    command: str


@dataclass(frozen=True)
class Encoder:
    """A model in the clear, and what it would send."""

    spec: ModelSpec
    plan: Plan
    weights: Weights
    embedder: Embedder
    sent: Estimate
    """One text through all layers, all parties."""

    @classmethod
    def of(cls, path: Path, tokens: int) -> Encoder:
        """Compile a model with softmax."""
        options = GenOptions(
            sequence_length=tokens, n_prompt_tokens=0, attention="softmax", head="prototypes",
            label_texts=("yes", "no, not at all"),
        )  # fmt: skip
        compiled = compile_model(path, options)
        assert compiled.weights is not None
        assert compiled.embedder is not None
        plan = build_encoder(compiled.spec, compiled.options)
        return cls(
            compiled.spec, plan, compiled.weights, compiled.embedder, stage_cost(compiled.ring, Stage.EXAMPLE, 1)
        )

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Unit embeddings `[n, h]`."""
        parts = []
        for start in range(0, len(texts), BATCH):
            inputs, _ = self.embedder.encode(list(texts[start : start + BATCH]))
            parts.append(run_plan(self.plan, self.weights, inputs, dtype=np.float32)["pooled"][0])
        rows = np.concatenate(parts)
        return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))

    def accuracy(self, task: Task, examples: Sequence[Example]) -> float:
        """Percent of examples that are nearest to their label's text."""
        labels = self.embed([task.label_texts[label] for label in task.labels])
        told = (self.embed([str(e.text) for e in examples]) @ labels.T).argmax(axis=-1)
        return 100 * float(np.mean([task.labels[at] == e.label for at, e in zip(told, examples, strict=True)]))


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """The original is always measured."""
    parser.add_argument("--model", type=Path, nargs="*", default=[], help="what secfwt-convert --merge-heads wrote")
    parser.add_argument("--original", type=Path, help="MiniLM where it is not given")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--texts", type=int, default=0, help="of each task, at most; 0: those that it tests on")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "merged_heads.csv")


def main(options: argparse.Namespace) -> None:
    """One row per model, the original's first."""
    tests = [read_examples(options.data / task.folder / "dev.tsv")[: options.texts or task.tested] for task, _ in KINDS]
    texts = [str(e.text) for (_, count), examples in zip(KINDS, tests, strict=True) for e in examples[:count]]
    original = None
    for path in (options.original or default_model(), *options.model):
        encoder = Encoder.of(path, options.tokens)
        embedded = encoder.embed(texts)
        original = embedded if original is None else original
        cosines = (embedded * original).sum(axis=-1)
        row = MergedHeadsRow(
            model=name_of(path), heads=encoder.spec.num_attention_heads, tokens=options.tokens, texts=len(texts),
            cosine=float(cosines.mean()), cosine_5th=float(np.quantile(cosines, 0.05)),
            ag_news=encoder.accuracy(AG_NEWS, tests[0]), sst2=encoder.accuracy(SST_2, tests[1]),
            megabytes=encoder.sent.bytes / 1e6, rounds=encoder.sent.rounds, commit=commit(), command=command(),
        )  # fmt: skip
        print(row, flush=True)
        append(options.out, row)
