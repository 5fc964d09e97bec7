"""Text of a decoder, token by token: seconds, traffic and rounds per token, with a draft and without.

Tokens are the likeliest ones. The error is that of the logits that the tokens were drawn from, in units of the largest,
against the model in float32 on the same tokens; where the parties' likeliest token is another, `other` counts it.

    python benchmarks/run.py text --model SmolLM2.gguf --draft SmolLM2.gguf --draft-tokens 2 4 8
    python benchmarks/run.py text --model SmolLM2.gguf --lora DIR --draft SmolLM2.gguf --draft-tokens 0 2 4
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from secfwt.runtime.engine import Cost, Floats
from secfwt.runtime.generation.drafting import Drafter
from secfwt.runtime.generation.engines import ClearText, TextEngine, open_engine
from secfwt.runtime.generation.generator import Generator
from secfwt.runtime.generation.options import GenerateOptions
from secfwt.runtime.generation.sampling import Sampling
from secfwt.runtime.generation.texts import draft_of, model_of
from secfwt.runtime.progress import make_display

from rows import command, commit, write

PROMPT = "The capital of France is"


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """One text. Bytes over all parties; text_seconds and text_megabytes are those of the text itself, all else is of
    the tokens behind it."""

    benchmark: str
    engine: str
    model: str
    """Its LoRA adapter behind a plus."""
    draft: str
    draft_tokens: int
    text_tokens: int
    tokens: int
    steps: int
    kept: int
    drafted: int
    text_seconds: float
    text_megabytes: float
    seconds_per_token: float
    parties_seconds_per_token: float
    """Of these; the others are the data owner's, who drafts and runs what is public."""
    megabytes_per_token: float
    rounds_per_token: float
    error: float
    other: int
    peak_memory_mb: float
    threads: int
    commit: str
    command: str


class Watched:
    """An engine whose steps are done a second time in the clear."""

    name = "watched"

    def __init__(self, private: TextEngine, clear: ClearText) -> None:
        self._private, self._clear = private, clear
        self.pairs: list[tuple[Floats, Floats]] = []
        self.seconds: list[float] = []
        self.clear_seconds = 0.0
        self.costs: list[Cost] = []

    def begin(self, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        return self._timed(lambda engine: engine.begin(inputs))

    def step(self, rows: Floats, at: int) -> Floats:
        return self._timed(lambda engine: engine.step(rows, at))

    def left(self) -> tuple[int | None, int | None]:
        return self._private.left()

    def cost(self) -> Cost:
        return self._private.cost()

    def _timed(self, ask: Any) -> Floats:
        began = time.monotonic()
        opened: Floats = ask(self._private)
        self.seconds.append(time.monotonic() - began)
        self.costs.append(self._private.cost())
        began = time.monotonic()
        self.pairs.append((opened, ask(self._clear)))
        self.clear_seconds += time.monotonic() - began
        return opened


def add_options(parser: argparse.ArgumentParser, command: str) -> None:
    """What to continue, and how."""
    parser.add_argument("--model", required=True, help="directory or GGUF file")
    parser.add_argument("--lora", default="", help="adapter of the model, which then is public: a natural draft")
    parser.add_argument("--draft", default="", help="as --model, of a public model")
    parser.add_argument("--draft-tokens", type=int, nargs="+", default=[4], help="0: without the draft")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--tokens", type=int, default=32)


def main(options: argparse.Namespace) -> None:
    """Measure each number of drafted tokens, or the model alone."""
    for count in options.draft_tokens if options.draft else [0]:
        row = measure(options, count)
        print(row)
        write("text", [row])


def measure(options: argparse.Namespace, draft_tokens: int) -> TextRow:
    """One text of `tokens` tokens, on three parties of this machine; without the draft for no drafted tokens."""
    draft = options.draft if draft_tokens else ""
    chosen = GenerateOptions(
        model=options.model, lora=options.lora, draft=draft, draft_tokens=draft_tokens or 1,
        max_new_tokens=options.tokens,
    )  # fmt: skip
    model = model_of(chosen, None, options.prompt)
    text, ids, _ = model.text(options.prompt)
    drafter = Drafter(draft_of(chosen, model), ids) if draft else None
    with (
        TemporaryDirectory() as folder,
        open_engine(chosen, model, Path(folder) / "parties", make_display(Console(quiet=True))) as private,
    ):
        engine = Watched(private, ClearText(model))
        generator = Generator(model, engine, Sampling(), np.random.default_rng(0), drafter)
        began = time.monotonic()
        tokens = list(generator.tokens(text, text.inputs, options.tokens, ()))
        owner = time.monotonic() - began - sum(engine.seconds) - engine.clear_seconds
    cost, first = engine.costs[-1], engine.costs[0]
    exact = [(model.logits(a), model.logits(b)) for a, b in engine.pairs]
    behind = len(tokens) - 1
    return TextRow(
        benchmark="text", engine="embedded", draft=Path(draft).stem, draft_tokens=draft_tokens,
        model=" + ".join([model.name, Path(options.lora).name] if options.lora else [model.name]),
        text_tokens=model.options.sequence_length,
        tokens=len(tokens), steps=generator.counts.steps, kept=generator.counts.kept,
        drafted=generator.counts.drafted, text_seconds=engine.seconds[0], text_megabytes=first.bytes_sent / 1e6,
        seconds_per_token=(sum(engine.seconds[1:]) + owner) / behind,
        parties_seconds_per_token=sum(engine.seconds[1:]) / behind,
        megabytes_per_token=(cost.bytes_sent - first.bytes_sent) / 1e6 / behind,
        rounds_per_token=(cost.rounds - first.rounds) / behind,
        error=max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in exact),
        other=sum(int((a.argmax(axis=-1) != b.argmax(axis=-1)).sum()) for a, b in exact),
        peak_memory_mb=cost.peak_bytes / 1e6, threads=len(os.sched_getaffinity(0)), commit=commit(), command=command(),
    )  # fmt: skip
