"""Layers, passes and generations on the embedded VM, over every combination of the options: one row each.

python benchmarks/run.py layer --shape minilm bert-base --tokens 32 64 128 256 512
python benchmarks/run.py layer --attention rfa softmax --tokens 32 64 128
python benchmarks/run.py forward --shape minilm --layers 1 2 4 6
python benchmarks/run.py generation --candidates 20 --examples 64 --unstaged 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import product

from secfwt.runtime.errors import SecfwtError

import rows
from performance import generation, layer
from performance.figures import draw
from performance.generation import Generation
from performance.models import FEATURES, SHAPES


def layer_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """One layer."""
    for name, tokens, attention in product(options.shape, options.tokens, attentions(options)):
        yield layer.measure(SHAPES[name], tokens, 1, *attention, options.runs, options.threads)


def forward_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """Whole passes, or the lowest layers of one."""
    for name, tokens, layers, attention in product(options.shape, options.tokens, options.layers, attentions(options)):
        shape = SHAPES[name]
        if layers > shape.layers:
            raise SecfwtError(f"--layers is {layers}, {name} has {shape.layers}")
        yield layer.measure(shape, tokens, layers or shape.layers, *attention, options.runs, options.threads)


def generation_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """One step of tuning; unstaged with as many candidates as asked for, and how much more that costs a pair."""
    for name, layers, candidates, examples, tokens, (attention, features) in product(
        options.shape, options.layers, options.candidates, options.examples, options.tokens, attentions(options)
    ):
        shape = SHAPES[name] if layers == 0 else replace(SHAPES[name], layers=layers)
        size = Generation(shape, shape.layers - options.below_top, candidates, examples, tokens, features, attention)
        yield (staged := generation.measure(size, True, options.runs, options.threads, options.think))
        if options.unstaged:
            few = replace(size, candidates=min(candidates, options.unstaged))
            yield (unstaged := generation.measure(few, False, options.runs, options.threads, options.think))
            faster, lighter = generation.times_cheaper(staged, unstaged)
            print(f"a pair takes {faster:.1f} times the seconds and {lighter:.1f} times the bytes unstaged")


def attentions(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Attentions with their features per head: softmax has none, and is measured once."""
    return [
        (attention, features)
        for attention in options.attention
        for features in (options.features if attention == "rfa" else [0])
    ]


ROWS = {"layer": layer_rows, "forward": forward_rows, "generation": generation_rows}


def main(options: argparse.Namespace) -> None:
    """Measure and record."""
    record(options.command, ROWS[options.command](options), options.dry)


def record(name: str, measured: Iterable[rows.Row], dry: bool) -> None:
    """Print each row and, unless `dry`, add it to the file as soon as it is there; then draw."""
    for row in measured:
        print(row, flush=True)
        if not dry:
            rows.write(name, [row])
    if not dry:
        draw()


def add_options(parser: argparse.ArgumentParser, command: str) -> None:
    """What the command takes: `command` is a name of `ROWS`."""
    whole = command == "generation"
    add_common_options(parser, tokens=64 if whole else 128, runs=0 if whole else 5)
    parser.add_argument("--attention", nargs="+", choices=("rfa", "softmax"), default=["rfa"])
    parser.add_argument("--features", nargs="+", type=at_least(1), default=[FEATURES], help="of rfa, per head")
    if command != "layer":
        parser.add_argument("--layers", nargs="+", type=at_least(0), default=[0], help="0: as many as the model has")
    if whole:
        parser.add_argument("--candidates", nargs="+", type=at_least(2), default=[20])
        parser.add_argument("--examples", nargs="+", type=at_least(1), default=[32])
        parser.add_argument("--below-top", type=at_least(1), default=2, help="layers from the prompt to the top")
        parser.add_argument(
            "--unstaged", type=at_least(0), default=0,
            help="candidates, at least 2, to measure unstaged as well; 0: none",
        )  # fmt: skip
        parser.add_argument(
            "--think", type=at_least(0), default=0,
            help="seconds before every step in which the parties have nothing to do",
        )  # fmt: skip


def add_common_options(parser: argparse.ArgumentParser, *, tokens: int, runs: int) -> None:
    """What every sweep takes, with two of its defaults."""
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["minilm"])
    parser.add_argument("--tokens", nargs="+", type=at_least(1), default=[tokens])
    parser.add_argument("--runs", type=at_least(0), default=runs, help="after a cold one")
    parser.add_argument("--threads", type=at_least(1), default=1, help="of a party of ours")
    parser.add_argument("--dry", action="store_true", help="print only, add no row, draw nothing")


def at_least(least: int) -> Callable[[str], int]:
    """An option's type: a whole number from `least` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return number
