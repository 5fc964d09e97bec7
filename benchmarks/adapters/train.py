"""A LoRA of a model's top layers, trained in the clear by PEFT on AG News: the private part of a public model.

    python benchmarks/run.py adapter --subject smollm2 --layers 8 --output adapters/smollm2-8
    python benchmarks/run.py adapter --subject minilm --layers 3 --output adapters/minilm-3
    python benchmarks/run.py adapter --subject minilm --model minilm-6-heads --layers 2 --output minilm-6-heads-2

SmolLM2 learns to write as the texts do (score: perplexity of 64 others), MiniLM to tell their topics (score: percent
of 1,000 others). One row in `results/adapter.csv`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from secfwt.runtime.adaptation.training import mixed_precision
from secfwt.runtime.data.examples import Example, read_examples
from secfwt.runtime.tuning.model import default_model

from accuracy.fidelity import processor
from accuracy.tasks import AG_NEWS, DATA, SMOLLM2_AG_NEWS
from adapters.models import Classifier, Subject, Writer
from rows import command, commit, record


@dataclass(frozen=True)
class Training:
    """How a LoRA is trained; AdamW, and a rate that falls to zero."""

    rank: int
    steps: int
    batch: int
    rate: float
    held_out: int


TRAININGS = {
    "smollm2": Training(rank=8, steps=60, batch=8, rate=2e-3, held_out=64),
    "minilm": Training(rank=8, steps=150, batch=32, rate=1e-3, held_out=1000),
}


@dataclass(frozen=True, kw_only=True)
class AdapterRow:
    """One training. `before` and `after`: perplexity (writing) or accuracy in percent (topics) on held-out texts."""

    subject: str
    task: str
    layers: int
    """Adapted, the highest."""
    rank: int
    parameters: int
    steps: int
    texts: int
    held_out: int
    before: float
    after: float
    seconds: float
    processor: str
    commit: str
    command: str


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What is trained, and where it goes."""
    parser.add_argument("--subject", choices=TRAININGS, required=True)
    parser.add_argument("--model", type=Path, help="e.g. one with merged heads (default: the subject as it is)")
    parser.add_argument("--layers", type=int, required=True, help="how many are adapted, from the top")
    parser.add_argument("--steps", type=int, help="default: the subject's")
    parser.add_argument("--output", type=Path, required=True, help="folder of the adapter, in PEFT's layout")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--dry", action="store_true", help="print only, add no row")


def main(options: argparse.Namespace) -> None:
    """Train one."""
    given = TRAININGS[options.subject]
    if options.steps:
        given = replace(given, steps=options.steps)
    subject: Subject
    if options.subject == "smollm2":
        subject = Writer(options.model or Path(SMOLLM2_AG_NEWS.model))
    else:
        subject = Classifier(AG_NEWS, options.model or default_model())
    name = options.model.stem if options.model else options.subject
    texts = read_examples(options.data / AG_NEWS.folder / "train.tsv")
    others = read_examples(options.data / AG_NEWS.folder / "dev.tsv")[: given.held_out]
    row = trained(name, subject, options.layers, given, texts, others, options.output)
    record("adapter", row, options.dry)


def trained(
    name: str, subject: Subject, layers: int, given: Training, texts: Sequence[Example], others: Sequence[Example],
    output: Path,
) -> AdapterRow:  # fmt: skip
    """Train a LoRA of the top `layers` and save it."""
    began = time.monotonic()
    with torch.no_grad():
        before = subject.score(others)
    wrapped = adapted(subject, layers, given.rank)
    parameters = [p for p in wrapped.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=given.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / given.steps)
    rng = np.random.default_rng(0)
    for step in range(given.steps):
        batch = [texts[i] for i in rng.choice(len(texts), given.batch, replace=False)]
        with mixed_precision(torch.device("cpu")):
            loss = subject.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 10 == 0:
            print(f"step {step}/{given.steps}  loss {loss.item():.3f}  {time.monotonic() - began:.0f} s", flush=True)
    with torch.no_grad():
        after = subject.score(others)
    wrapped.save_pretrained(output)
    return AdapterRow(
        subject=name, task=AG_NEWS.name, layers=layers, rank=given.rank, parameters=sum(p.numel() for p in parameters),
        steps=given.steps, texts=len(texts), held_out=len(others), before=before, after=after,
        seconds=time.monotonic() - began, processor=processor(), commit=commit(), command=command(),
    )  # fmt: skip


def adapted(subject: Subject, layers: int, rank: int) -> Any:
    """The subject's model with a LoRA of its top layers, which PEFT puts into it in place."""
    torch.manual_seed(0)
    top = list(range(subject.layers - layers, subject.layers))
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=subject.targets, layers_to_transform=top)
    return peft.get_peft_model(subject.module, config)
