"""A step of tuning on several groups of parties: measured here, and on hosts and networks that are simulated.

    python benchmarks/run.py groups [--groups 1 2 4] [--simulated 1 2 4 8 16 32 64] [--candidates 21] [--examples 32]

Measured: every group's three parties have one thread each and one core together, the next group the next core, in turn.
So more groups than cores gain nothing: `processors` says how many cores there were. Simulated: every group has such a
core, or `--cores` of them, and links of its own. A piece takes the seconds that were measured for one group, by its
candidates and examples, and what its rounds and bytes take on the network (`codegen/native/network.py`); who computes
what is decided as in a run (`runtime/groups/`). Efficiency: seconds of one group over seconds of all, times groups.
"""

from __future__ import annotations

import argparse
import heapq
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from secfwt.codegen.lowering.program import Lowered
from secfwt.codegen.native.network import NETWORKS, Network
from secfwt.codegen.ring.cost import generation_cost
from secfwt.codegen.ring.header import read_program
from secfwt.codegen.ring.program import RingProgram
from secfwt.codegen.ring.text import program_text
from secfwt.runtime.embedded.client import Client
from secfwt.runtime.embedded.engine import EmbeddedEngine
from secfwt.runtime.embedded.processes import LocalParties
from secfwt.runtime.engine import Batch
from secfwt.runtime.groups.engine import UNSURE, Group, GroupedEngine, reserve
from secfwt.runtime.groups.layout import layout
from secfwt.runtime.groups.progress import StepProgress
from secfwt.runtime.groups.step import Step
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.deployment import Deployment

import rows
from performance.generation import Generation, in_the_clear
from performance.models import SHAPES
from performance.service import folded
from performance.service import lowered as lowered_with
from performance.sweeps import at_least

NO_NETWORK = "loopback"
FITTED = 8
"""Candidates and examples that ranges are calibrated on."""


@dataclass(frozen=True, kw_only=True)
class GroupsRow:
    """One step on so many groups, the median of `runs` after a first one."""

    benchmark: str
    """measured or simulated."""
    engine: str = "embedded"
    protocol: str = "replicated ring, semi-honest"
    parties: int
    groups: int
    processors: int
    """Cores in all."""
    network: str
    shape: str
    prompt_layer: int
    tokens: int
    candidates: int
    examples: int
    seconds: float
    seconds_min: float
    seconds_max: float
    runs: int
    efficiency: float
    megabytes: float
    rounds: int
    max_error: float
    """Of losses against float32; nan: simulated."""
    peak_memory_mb: float
    threads: int
    """Of a party."""
    commit: str
    command: str

    def __str__(self) -> str:
        return (
            f"{self.benchmark}, {self.groups} groups, {self.processors} cores, {self.network}: {self.seconds:.3f} s "
            f"({self.seconds_min:.3f}-{self.seconds_max:.3f}), efficiency {self.efficiency:.2f}, "
            f"{self.megabytes:.1f} MB, {self.rounds} rounds, max error {self.max_error:.2g}"
        )


class PinnedParties(LocalParties):
    """Three parties that share one core."""

    def __init__(self, deployment: Deployment, program: Path, logs: Path, core: int) -> None:
        super().__init__(deployment, program, logs)
        self._commands = [["taskset", "--cpu-list", str(core), *command] for command in self._commands]


@dataclass(frozen=True)
class Work:
    """A step, its program and what it is in the clear."""

    size: Generation
    program: Lowered
    weights: dict[str, np.ndarray]
    batch: Batch
    z: np.ndarray
    clear: np.ndarray


def work(size: Generation) -> Work:
    """Random weights and inputs of that size."""
    plan, weights, inputs, clear = in_the_clear(size)
    program = lowered_with(plan, weights, {name: values[:FITTED] for name, values in inputs.items()})
    examples = {v.attrs["name"] for v in program.ring.inputs("example")}
    batch = Batch({name: values for name, values in inputs.items() if name in examples})
    return Work(size, program, weights, batch, inputs["z"], clear.reshape(-1))  # type: ignore[arg-type]


@contextmanager
def running(step: Work, groups: int) -> Iterator[GroupedEngine]:
    """So many groups on this machine's cores, with the weights and the examples."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        text = home / "program.txt"
        text.write_text(program_text(step.program.ring))
        header = read_program(text)
        make_certificates(home / "certificates")
        progress, members = StepProgress(lambda done, total: None), []
        for number in range(groups):
            deployment = Deployment.local(home / "certificates", threads=1)
            parties = PinnedParties(deployment, text, home / str(number), cores[number % len(cores)])
            stack.enter_context(parties)
            with Client(deployment, "model-owner", header.hash) as owner:
                owner.send_weights(folded(step.program, step.weights))
            engine = EmbeddedEngine(deployment, header, patience=600.0, progress=progress.of(number))
            stack.callback(engine.close)
            members.append(Group(f"group {number}", engine))
        grouped = GroupedEngine(members, progress, print)
        stack.callback(grouped.leave)
        grouped.load_examples("train", step.batch)
        yield grouped


@dataclass(frozen=True)
class Measured:
    """Seconds of the warm steps, and what one of them cost."""

    seconds: list[float]
    bytes_sent: int
    rounds: int
    peak_bytes: int
    error: float


def measured(step: Work, engine: GroupedEngine, candidates: int, runs: int) -> Measured:
    """Steps of so many of the candidates, the first of which only warms up: examples are shared in it."""
    seconds = []
    for _ in range(runs + 1):
        before, began = engine.cost(), time.monotonic()
        losses = engine.losses("train", step.z[:candidates])
        seconds.append(time.monotonic() - began)
        spent = engine.cost().since(before)
    error = float(np.abs(losses - step.clear[:candidates]).max())
    return Measured(seconds[1:], spent.bytes_sent, spent.rounds, spent.peak_bytes, error)


@dataclass(frozen=True)
class Host:
    """A group on hosts of its own: what a piece takes, by a line through two steps that were measured on one core."""

    ring: RingProgram
    fixed: float
    per_pair: float
    network: Network
    cores: int

    @classmethod
    def fitted(cls, step: Work, points: Sequence[tuple[int, float]], network: Network, cores: int) -> Host:
        """From seconds on loopback by the number of pairs, of two steps."""
        (few, less), (many, more) = points
        per_pair = (more - less) / (many - few)
        return cls(step.program.ring, max(0.0, less - few * per_pair), per_pair, network, cores)

    def seconds(self, candidates: int, examples: int) -> float:
        """Of a piece; computing gains from cores, waiting does not."""
        cost = generation_cost(self.ring, candidates, examples)
        computing = self.fixed + self.per_pair * candidates * examples / self.cores
        return self.network.seconds(computing, cost.rounds, cost.bytes / 3)


def simulated(size: Generation, host: Host, groups: int, steps: int = 4) -> tuple[float, int, int]:
    """Seconds of a step on equal groups that have steps behind them; bytes of all, rounds of one that has most."""
    members, kept_back = [Group(str(number), None) for number in range(groups)], UNSURE  # type: ignore[arg-type]
    for _ in range(steps):
        speeds = {number: member.speed or 1.0 for number, member in enumerate(members)}
        rows_ = layout(speeds, size.candidates, size.examples, groups)
        step = Step(rows_, size.candidates, speeds, kept_back, lambda group, row: size.candidates)
        order = count()
        free = [(0.0, next(order), group) for group in range(groups)]
        last, sent, rounds = 0.0, 0, dict.fromkeys(speeds, 0)
        pairs, busy = dict.fromkeys(speeds, 0), dict.fromkeys(speeds, 0.0)
        while free:
            now, _, group = heapq.heappop(free)
            if not (piece := step.next(group)):
                continue
            took = host.seconds(len(piece.candidates), len(piece.row))
            cost = generation_cost(host.ring, len(piece.candidates), len(piece.row))
            sent, rounds[group] = sent + cost.bytes, rounds[group] + cost.rounds
            pairs[group], busy[group] = pairs[group] + piece.pairs, busy[group] + took
            last = max(last, now + took)
            heapq.heappush(free, (now + took, next(order), group))
        kept_back = reserve([members[group].timed(pairs[group], busy[group]) for group in speeds if pairs[group]])
    return last, sent, max(rounds.values())


def group_rows(options: argparse.Namespace) -> Iterator[GroupsRow]:
    """Measured, then simulated."""
    shape = SHAPES[options.shape]
    size = Generation(
        shape, shape.layers - options.below_top, options.candidates, options.examples, options.tokens
    )  # fmt: skip
    yield from rows_of(size, options.groups, options.simulated, options.runs, options.cores)


def rows_of(
    size: Generation, groups: Sequence[int], simulations: Sequence[int], runs: int, cores: int
) -> Iterator[GroupsRow]:
    """All rows of one step; `groups` begins with 1, which efficiencies are of."""
    step, here = work(size), len(os.sched_getaffinity(0))
    known = {
        "shape": str(size.shape), "prompt_layer": size.prompt_layer, "tokens": size.tokens, "threads": 1,
        "candidates": size.candidates, "examples": size.examples, "commit": rows.commit(), "command": rows.command(),
    }  # fmt: skip
    few, points, alone = max(1, size.candidates // 4), list[tuple[int, float]](), 0.0
    for number in groups:
        with running(step, number) as engine:
            if number == 1:
                small = measured(step, engine, few, runs)
                points.append((few * size.examples, statistics.median(small.seconds)))
            found = measured(step, engine, size.candidates, runs)
        took = statistics.median(found.seconds)
        if number == 1:
            alone = took
            points.append((size.candidates * size.examples, took))
        yield GroupsRow(
            benchmark="measured",
            parties=3 * number,
            groups=number,
            processors=min(number, here),
            network=NO_NETWORK,
            seconds=took,
            seconds_min=min(found.seconds),
            seconds_max=max(found.seconds),
            runs=len(found.seconds),
            efficiency=alone / took / number,
            megabytes=found.bytes_sent / 1e6,
            rounds=found.rounds,
            max_error=found.error,
            peak_memory_mb=found.peak_bytes / 1e6,
            **known,
        )  # type: ignore[arg-type]
    for network in NETWORKS:
        host = Host.fitted(step, points, network, cores)
        one, *_ = simulated(size, host, 1)
        for number in simulations:
            took, sent, rounds = simulated(size, host, number)
            yield GroupsRow(
                benchmark="simulated",
                parties=3 * number,
                groups=number,
                processors=cores * number,
                network=str(network),
                seconds=took,
                seconds_min=took,
                seconds_max=took,
                runs=1,
                efficiency=one / took / number,
                megabytes=sent / 1e6,
                rounds=rounds,
                max_error=float("nan"),
                peak_memory_mb=float("nan"),
                **known,
            )  # type: ignore[arg-type]


def main(options: argparse.Namespace) -> None:
    """Print every row as it is there and, unless `--dry`, keep it."""
    for row in group_rows(options):
        rows.record("groups", row, options.dry)


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--groups", nargs="+", type=at_least(1), default=[1, 2, 4], help="measured; 1 comes first")
    parser.add_argument("--simulated", nargs="+", type=at_least(1), default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--candidates", type=at_least(2), default=21, help="canaries among them")
    parser.add_argument("--examples", type=at_least(1), default=32)
    parser.add_argument("--tokens", type=at_least(1), default=32)
    parser.add_argument("--below-top", type=at_least(1), default=2, help="layers from the prompt to the top")
    parser.add_argument("--cores", type=at_least(1), default=1, help="of a group's three parties together, simulated")
    parser.add_argument("--runs", type=at_least(1), default=1, help="after a first one")
    parser.add_argument("--dry", action="store_true", help="print only, add no row")
