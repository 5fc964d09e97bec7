"""Our layer, then the same on every other engine that is there.

python benchmarks/run.py peers --spu-python DIR/bin/python --crypten-python DIR/bin/python
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from secfwt.runtime.errors import SecfwtError

import rows
from peers import measure, mpspdz_layer
from performance import layer
from performance.models import FEATURES, SHAPES, EncoderSize
from performance.sweeps import add_common_options, record


def peer_rows(options: argparse.Namespace) -> Iterator[rows.Row]:
    """Ours, then every engine asked for that is there, on the same layer."""
    for name, tokens, engine in product(options.shape, options.tokens, options.engines):
        try:
            for row in ENGINES[engine](SHAPES[name], tokens, options):
                yield replace(row, benchmark="peers")
        except SecfwtError as reason:
            print(f"skipped {engine}: {reason}", flush=True)


def embedded_rows(shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """The embedded VM, with both attentions."""
    for attention, features in (("rfa", FEATURES), ("softmax", 0)):
        yield layer.measure(shape, tokens, 1, attention, features, options.runs, options.threads)


def foreign_rows(engine: str, shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """An engine in an environment of its own, with softmax attention and with random features."""
    peer = measure.PEERS[engine]
    python = measure.check(peer, getattr(options, f"{engine}_python"))
    for attention in ("softmax", "rfa"):
        yield measure.measure(peer, python, layer.layer_task(shape, tokens, attention), options.runs)


def mpspdz_rows(shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """Our layer on MP-SPDZ, with our party program and with its own."""
    yield from mpspdz_layer.layer_rows(shape, tokens, "ring", options.runs, options.threads)


def bert_layer_rows(shape: EncoderSize, tokens: int, options: argparse.Namespace) -> Iterator[rows.Row]:
    """MP-SPDZ's own layer."""
    yield mpspdz_layer.bert_layer_row(shape, tokens, "ring")


ENGINES: dict[str, Callable[[EncoderSize, int, argparse.Namespace], Iterator[rows.Row]]] = {
    "embedded": embedded_rows,
    **{engine: partial(foreign_rows, engine) for engine in measure.PEERS},
    "mp-spdz": mpspdz_rows,
    "bert-layer": bert_layer_rows,
}


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    add_common_options(parser, tokens=128, runs=5)
    for name, peer in measure.PEERS.items():
        parser.add_argument(f"--{name}-python", type=Path, help=f"of an environment with {peer.name}")
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="bert-layer, MP-SPDZ's own, takes minutes"
    )


def main(options: argparse.Namespace) -> None:
    """Measure and record."""
    record("peers", peer_rows(options), options.dry)
