#!/usr/bin/env python
"""Benchmarks of the embedded VM, and of its peers beside it: rows in benchmarks/results, figures in docs/figures.

    python benchmarks/run.py layer --shape minilm bert-base --tokens 32 64 128 256 512
    python benchmarks/run.py forward --shape minilm --layers 1 2 4 6
    python benchmarks/run.py generation --candidates 20 --examples 64 --unstaged 2
    python benchmarks/run.py peers --spu-python DIR/bin/python --crypten-python DIR/bin/python
    python benchmarks/run.py figures

Every option that takes several values measures all combinations. docs/benchmarks.md says what the columns mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import figures
import generation
import layer
import mpspdz_layer
import peers
import rows
from generation import Generation
from models import FEATURES, SHAPES, EncoderSize
from secfwt.codegen.commandline.command import exit_codes
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.runtime.errors import SecfwtError


def layer_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """One layer."""
    for name, tokens, features in product(options.shape, options.tokens, options.features):
        yield layer.measure(SHAPES[name], tokens, 1, features, options.runs, options.threads)


def forward_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """Whole passes, or the lowest layers of one."""
    for name, tokens, layers, features in product(options.shape, options.tokens, options.layers, options.features):
        shape = SHAPES[name]
        if layers > shape.layers:
            raise SecfwtError(f"--layers is {layers}, {name} has {shape.layers}")
        yield layer.measure(shape, tokens, layers or shape.layers, features, options.runs, options.threads)


def generation_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """One step of tuning; unstaged with as many candidates as asked for, and how much more that costs a pair."""
    for name, layers, candidates, examples, tokens, features in product(
        options.shape, options.layers, options.candidates, options.examples, options.tokens, options.features
    ):
        shape = SHAPES[name] if layers == 0 else replace(SHAPES[name], layers=layers)
        size = Generation(shape, shape.layers - options.below_top, candidates, examples, tokens, features)
        yield (staged := generation.measure(size, True, options.runs, options.threads, options.think))
        if options.unstaged:
            few = replace(size, candidates=min(candidates, options.unstaged))
            yield (unstaged := generation.measure(few, False, options.runs, options.threads, options.think))
            faster, lighter = generation.times_cheaper(staged, unstaged)
            print(f"a pair takes {faster:.1f} times the seconds and {lighter:.1f} times the bytes unstaged")


def peer_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """Ours, then every engine asked for that is there, on the same layer."""
    for name, tokens, engine in product(options.shape, options.tokens, options.engines):
        try:
            for row in ENGINES[engine](SHAPES[name], tokens, options):
                yield replace(row, benchmark="peers")
        except SecfwtError as reason:
            print(f"skipped {engine}: {reason}", flush=True)


def embedded_rows(shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """The embedded VM."""
    yield layer.measure(shape, tokens, 1, FEATURES, options.runs, options.threads)


def foreign_rows(engine: str, shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """An engine in an environment of its own, with softmax attention and with random features."""
    peer = peers.PEERS[engine]
    python = peers.check(peer, getattr(options, f"{engine}_python"))
    for attention in ("softmax", "rfa"):
        yield peers.measure(peer, python, layer.layer_task(shape, tokens, attention), options.runs)


def mpspdz_rows(shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """Our layer on MP-SPDZ, with our party program and with its own."""
    yield from mpspdz_layer.layer_rows(shape, tokens, "ring", options.runs, options.threads)


def bert_layer_rows(shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """MP-SPDZ's own layer."""
    yield mpspdz_layer.bert_layer_row(shape, tokens, "ring")


ENGINES: dict[str, Callable[[EncoderSize, int, argparse.Namespace], Iterator[rows.Row]]] = {
    "embedded": embedded_rows,
    **{engine: partial(foreign_rows, engine) for engine in peers.PEERS},
    "mp-spdz": mpspdz_rows,
    "bert-layer": bert_layer_rows,
}


def draw(folder: Path = figures.FOLDER) -> None:
    """All figures that there are rows for."""
    for benchmark in ("layer", "forward", "generation"):
        measured = rows.read(benchmark)
        for axis in figures.AXES:
            path = folder / f"{benchmark}-{axis}.svg"
            if figures.growth(measured, axis, path):
                print(path)
    if measured := rows.read("peers"):
        figures.side_by_side(measured, folder / "peers.svg")
        print(folder / "peers.svg")


def at_least(least: int) -> Callable[[str], int]:
    """An option's type: a whole number from `least` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return number


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="benchmark", required=True)
    commands.add_parser("figures", help="draw all figures from the rows that there are")
    measures = {name: commands.add_parser(name, help=function.__doc__) for name, function in ROWS.items()}
    for name, command in measures.items():
        command.add_argument("--shape", nargs="+", choices=SHAPES, default=["minilm"])
        command.add_argument("--tokens", nargs="+", type=at_least(1), default=[64 if name == "generation" else 128])
        command.add_argument(
            "--runs", type=at_least(0), default=0 if name == "generation" else 5, help="after a cold one"
        )
        command.add_argument("--threads", type=at_least(1), default=1, help="of a party of ours")
        command.add_argument("--dry", action="store_true", help="print only, add no row, draw nothing")
        if name != "peers":
            command.add_argument("--features", nargs="+", type=at_least(1), default=[FEATURES])
    for name in ("forward", "generation"):
        measures[name].add_argument(
            "--layers", nargs="+", type=at_least(0), default=[0], help="0: as many as the model has"
        )
    measures["generation"].add_argument("--candidates", nargs="+", type=at_least(2), default=[20])
    measures["generation"].add_argument("--examples", nargs="+", type=at_least(1), default=[32])
    measures["generation"].add_argument(
        "--below-top", type=at_least(1), default=2, help="layers from the prompt to the top"
    )
    measures["generation"].add_argument(
        "--unstaged", type=at_least(0), default=0, help="candidates, at least 2, to measure unstaged as well; 0: none"
    )
    measures["generation"].add_argument(
        "--think", type=at_least(0), default=0, help="seconds before every step in which the parties have nothing to do"
    )
    for name, peer in peers.PEERS.items():
        measures["peers"].add_argument(f"--{name}-python", type=Path, help=f"of an environment with {peer.name}")
    measures["peers"].add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="bert-layer, MP-SPDZ's own, takes minutes"
    )
    return parser.parse_args(arguments)


ROWS = {"layer": layer_rows, "forward": forward_rows, "generation": generation_rows, "peers": peer_rows}


def main() -> None:
    """Measure, print, add each row as soon as it is there, draw."""
    options = parsed()
    with exit_codes():
        if options.benchmark == "figures":
            return draw()
        try:
            for row in ROWS[options.benchmark](options):
                print(row, flush=True)
                if not options.dry:
                    rows.write(options.benchmark, [row])
        except ProblemsFound as problems:
            raise SecfwtError(str(problems).removeprefix("error: ")) from None
        if not options.dry:
            draw()


if __name__ == "__main__":
    main()
