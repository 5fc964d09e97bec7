"""A generation on simulated networks: how much of its waiting the embedded VM hides.

    python benchmarks/run.py network [--candidates 4] [--examples 8] [--tokens 16] [--runs 3] [--lanes 1 --lanes 2]
        [--ahead-mb 256] [--pause SECONDS]

Three parties in one process (nothing is protected), with latency and bandwidth between them. Seconds a step by network,
lanes and what may be dealt ahead, with a pause before every step: read ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable
from itertools import product

import numpy as np
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.ring.text import program_text
from secfwt.runtime.parties.sharing import Elements, Words

from performance.generation import Generation, generation_inputs, generation_options
from performance.models import SHAPES, RandomWeights, model_spec
from performance.service import folded, lowered, shared

NETWORKS = {"3 Gbit/s, 0.8 ms": (0.0008, 3e9 / 8), "200 Mbit/s, 40 ms": (0.04, 2e8 / 8)}
"""Latency in seconds, bytes a second each way."""


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--examples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lanes", type=int, action="append", help="repeatable; 1, 2 and 4 where not given")
    parser.add_argument("--tile-words", type=int, default=1 << 20)
    parser.add_argument("--ahead-mb", type=int, default=256)
    parser.add_argument("--pause", type=float, default=0, help="seconds the data owner takes between steps")


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    size = Generation(SHAPES["minilm"], 4, options.candidates, options.examples, options.tokens)
    chosen = generation_options(size)
    plan = build_plan(model_spec(size.shape), chosen)
    weights = RandomWeights(size.shape, chosen, plan)
    inputs = generation_inputs(size)
    program = lowered(plan, weights, {name: values[:2] for name, values in inputs.items()})
    words = flat(folded(program, weights))
    for name, network in NETWORKS.items():
        for lanes, ahead in product(options.lanes or (1, 2, 4), (0, options.ahead_mb)):
            simulator = Simulator(
                program_text(program.ring), options.tile_words, lanes=lanes, ahead=ahead << 20, network=network
            )
            simulator.weights(words)
            simulator.examples(size.examples, flat(shared(program.ring, "example", inputs)))
            seconds, cpu = [], time.process_time()
            for _ in range(options.runs + 1):
                time.sleep(options.pause)
                start, before = time.perf_counter(), simulator.counters()
                simulator.step(size.candidates, flat(shared(program.ring, "candidate", inputs)))
                seconds.append(time.perf_counter() - start)
            traffic, cpu = simulator.counters() - before, (time.process_time() - cpu) / (options.runs + 1)
            print(
                f"{name:18} {lanes} lanes, {ahead:3} MB ahead: {statistics.median(seconds[1:]):7.2f} s a step, "
                f"{cpu:.2f} s of processors, "
                f"{traffic.total / 1e6:.0f} MB, {traffic.rounds} rounds",
                flush=True,
            )


def flat(inputs: Iterable[Elements]) -> Words:
    """One after another, for the simulator, which shares them itself."""
    return np.concatenate([each.words.ravel() for each in inputs])
