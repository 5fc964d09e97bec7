"""A fine-tuned classifier, privately: all of it secret, its top layers, or what a LoRA changes of them.

    python benchmarks/run.py lora --lora DIR … --ways private frozen merged factored
    python benchmarks/run.py lora --model minilm-6-heads --lora DIR … --ways private frozen merged

MiniLM with a LoRA of its top layers (`run.py adapter`), on AG News: accuracy in the clear on the dev file's first rows,
and privately on the first of those, with what a batch of them costs. One row for every adapter and way. The programs
are those of tuning, with one untuned prompt row in the last layer.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from secfwt.codegen.memory import kept_bytes
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.lora.choice import choose_weights
from secfwt.codegen.model.lora.reading import read_lora
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import uploaded_bytes
from secfwt.runtime.data.examples import Example, read_examples
from secfwt.runtime.embedded.running import compiled_engine
from secfwt.runtime.engine import Batch
from secfwt.runtime.progress import PlainDisplay
from secfwt.runtime.tuning.model import Model, default_model

from accuracy.tasks import AG_NEWS, DATA, Task
from rows import command, commit, record

WAYS = {
    "private": {"weights": "private"},
    "frozen": {"weights": "private"},
    "merged": {"weights": "base", "lora_products": "merged"},
    "factored": {"weights": "base", "lora_products": "factored"},
}
"""All is secret; the layers that the adapter changes are; of these what it changes, as one matrix or as two factors."""


@dataclass(frozen=True, kw_only=True)
class LoraRow:
    """One way. Bytes over all parties, per text; rounds of a batch; memory of one party."""

    benchmark: str
    model: str
    """Its adapter behind a plus."""
    task: str
    way: str
    layers: int
    """That the parties compute."""
    tokens: int
    tested: int
    accuracy: float
    """In the clear, percent."""
    private_tested: int
    private_accuracy: float
    same: int
    """Texts of these that get the same label as in the clear."""
    error: float
    """Largest, of a logit, against the model in the clear."""
    batch: int
    seconds: float
    megabytes: float
    rounds: int
    secret_weights: int
    upload_megabytes: float
    kept_megabytes: float
    """Of the model's weights, between steps."""
    peak_memory_mb: float
    threads: int
    commit: str
    command: str


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """Which adapters, in which ways, and on how many texts."""
    parser.add_argument("--lora", type=Path, nargs="+", required=True, help="adapters of the model's")
    parser.add_argument("--model", type=Path, help="a sentence encoder, e.g. with merged heads (default: MiniLM)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--tested", type=int, default=AG_NEWS.tested, help="texts, in the clear")
    parser.add_argument("--private", type=int, default=64, help="of them, privately")
    parser.add_argument("--batch", type=int, default=8, help="of these at a time")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--dry", action="store_true", help="print only, add no row")


def main(options: argparse.Namespace) -> None:
    """Measure all."""
    texts = read_examples(options.data / AG_NEWS.folder / "dev.tsv", known_labels=AG_NEWS.labels)[: options.tested]
    for folder in options.lora:
        for way in options.ways:
            row = measure(AG_NEWS, options.model or default_model(), folder, way, texts, options.private, options.batch)
            record("lora", row, options.dry)


def adapted(task: Task, path: Path, folder: Path, way: str) -> Model:
    """The model with its adapter, compiled for one way."""
    given: dict[str, Any] = WAYS[way]
    options = GenOptions(
        head="prototypes", labels=tuple(task.labels), label_texts=tuple(task.label_texts[name] for name in task.labels),
        sequence_length=task.sequence_length, n_prompt_tokens=1, attention="softmax", **given,
    )  # fmt: skip
    spec = read_model(path, options)
    options = replace(options, prompt_layer=spec.num_hidden_layers - 1)
    if way == "frozen":
        options = replace(options, frozen_layers=read_lora(folder, spec).lowest_layer(spec))
    options, lora = choose_weights(spec, options, folder)
    return Model.of(path, spec, options, "embedded", lora=lora)


def measure(task: Task, path: Path, folder: Path, way: str, texts: Sequence[Example], count: int, size: int) -> LoraRow:
    """One row."""
    model = adapted(task, path, folder, way)
    assert model.compiled is not None
    assert model.weights is not None
    inputs, _ = model.embedder.encode([e.text for e in texts], [e.label for e in texts])
    labels = np.array([task.labels.index(e.label) for e in texts])
    z = np.zeros(model.options.intrinsic_dim)
    given = {**inputs, "z": z[None]}
    clear = run_plan(model.plan, model.weights, given, dtype=np.float32)["logits"].reshape(len(texts), -1)
    opened = []
    with TemporaryDirectory() as home:
        display = PlainDisplay(Console(quiet=True))
        with compiled_engine(model.compiled, Path(home) / "parties", display) as engine:
            begun = engine.cost()
            for start in range(0, count, size):
                part = {name: np.asarray(x[start : start + size], np.float64) for name, x in inputs.items()}
                before = engine.cost().rounds
                engine.load_examples("asked", Batch(part))
                opened.append(engine.logits("asked", z))
                rounds = engine.cost().rounds - before
            cost = engine.cost()
    private, ring = np.concatenate(opened), model.compiled.ring
    told, said = private.argmax(axis=-1), clear.argmax(axis=-1)
    return LoraRow(
        benchmark="lora", model=f"{model.name} + {folder.name}", task=task.name, way=way,
        layers=model.spec.num_hidden_layers - model.options.clear_layers, tokens=task.sequence_length,
        tested=len(texts), accuracy=100 * float((said == labels).mean()), private_tested=len(told),
        private_accuracy=100 * float((told == labels[: len(told)]).mean()),
        same=int((told == said[: len(told)]).sum()), error=float(np.abs(private - clear[: len(told)]).max()),
        batch=size, seconds=(cost.seconds - begun.seconds) / len(told),
        megabytes=(cost.bytes_sent - begun.bytes_sent) / 1e6 / len(told), rounds=rounds,
        secret_weights=sum(v.size for v in ring.inputs("weight")),
        upload_megabytes=uploaded_bytes(ring, "weight") / 1e6, kept_megabytes=kept_bytes(ring, Stage.SETUP) / 1e6,
        peak_memory_mb=cost.peak_bytes / 1e6, threads=len(os.sched_getaffinity(0)), commit=commit(), command=command(),
    )  # fmt: skip
