"""How fast this machine computes for three parties at once: what turns a program's cost into seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..plan.graph import Output, Stage
from ..ring.builder import RingBuilder
from ..ring.cost import Estimate, stage_cost
from ..ring.schedule import schedule
from ..ring.text import program_text
from ..series.nonlinear import even_part
from .network import Network
from .simulator import Simulator, ring_matmul

GEMM = (512, 768, 768)
"""Rows and columns of the product that is timed: 128 tokens of four examples, at the width of BERT-base."""
VALUES = 1 << 18
"""Values whose activation is timed: traffic of some 10 MB."""
RUNS = 3


@dataclass(frozen=True)
class Rate:
    """All cores together, all three parties on them."""

    macs_per_second: float
    """Multiply-accumulates of ring products."""
    bytes_per_second: float
    """Of traffic: what masks, series and shares cost to compute, without a network."""

    def seconds(self, cost: Estimate) -> float:
        """Time of a computation where messages cost nothing."""
        return cost.macs / self.macs_per_second + cost.bytes / self.bytes_per_second

    def on(self, network: Network, cost: Estimate) -> float:
        """Expected seconds with the parties on a network; their roles rotate, so each sends a third."""
        return network.seconds(self.seconds(cost), cost.rounds, cost.bytes / 3)


def measure() -> Rate:
    """Time one product and one activation, about a quarter of a second. Raises `BinaryMissing`."""
    rows, inner, columns = GEMM
    rng = np.random.default_rng(0)  # of what is timed; nothing is secret
    a, b = (rng.integers(0, 1 << 63, shape, np.uint64) for shape in ((rows, inner), (inner, columns)))
    macs = rows * inner * columns / _fastest(lambda: ring_matmul(a, b))

    builder = RingBuilder()
    x = builder.candidate("x", (VALUES,), 16, 1.0)
    fit = even_part("gelu", 8.0)
    builder.program.outputs.append(Output("y", builder.fourier(builder.phase(x, 32.0)[0], fit)))
    program = schedule(builder.program)
    machine = Simulator(program_text(program))
    machine.examples(1, np.empty(0, np.uint64))
    values = np.zeros(VALUES, np.uint64)
    sent = stage_cost(program, Stage.CANDIDATE, 1).bytes
    return Rate(macs, sent / _fastest(lambda: machine.step(1, values)))


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs: the others were disturbed."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)
