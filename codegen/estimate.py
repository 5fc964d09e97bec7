"""What a program costs, for people: parts, traffic, and the seconds of a generation and of a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from .commandline.problems import ProblemsFound
from .commandline.units import amount, seconds
from .compile import Compiled
from .lowering.program import lower
from .memory import kept_bytes
from .native.binaries import BinaryMissing
from .native.network import NETWORKS
from .native.rate import Rate, measure
from .plan.build import build_plan
from .plan.graph import Stage
from .ring.cost import Estimate, generation_cost, site_costs, stage_cost, uploaded_bytes
from .ring.operations import COMMUNICATING
from .ring.program import RingProgram
from .ring.unstaged import unstaged
from .series.ranges import Ranges

BUDGET = 8000
"""Evaluations of a whole run: Black-Box Tuning's (Sun et al. 2022)."""


@dataclass(frozen=True)
class Part:
    """Parts of the model that cost the same, and what one of them costs."""

    names: tuple[str, ...]
    parameters: int
    cost: Estimate

    @property
    def label(self) -> str:
        """`layer 3`, or `22 layers (0-21), each`."""
        if len(self.names) == 1:
            return self.names[0]
        kind = self.names[0].split()[0]
        numbers = [int(name.split()[1]) for name in self.names]
        return f"{len(numbers)} {kind}s: {numbers[0]}-{numbers[-1]}, each"


def grouped(costs: Iterable[tuple[str, tuple[int, Estimate]]]) -> Iterator[Part]:
    """Parts in order, numbered neighbours of equal cost as one; parts that cost nothing left out."""

    def same(item: tuple[str, tuple[int, Estimate]]) -> object:
        name, what = item
        return what if name.split()[-1].isdecimal() else (name, *what)

    for _, members in groupby((item for item in costs if item[1] != (0, Estimate())), same):
        items = list(members)
        yield Part(tuple(name for name, _ in items), *items[0][1])


NOTES = """\
traffic and MACs (multiply-accumulates): of all three parties, in one tile; parts share rounds
before the first: what depends on weights and examples alone
unstaged: were all of it computed for every pair of candidate and example
networks: computing + rounds × latency + bytes of one party / bandwidth"""


def cost_table(compiled: Compiled, examples: int) -> Table:
    """Parts, parameters and what a generation costs, from the same numbers as the program."""
    ring, candidates = compiled.ring, compiled.options.popsize
    tokens = compiled.options.sequence_length
    table = _table(
        f"one generation: {candidates} candidates × {examples} examples × {tokens} tokens",
        "part", "secret weights", "traffic", "rounds", "MACs",
    )  # fmt: skip
    sites = site_costs(ring, candidates, examples)
    for part in grouped(sites.items()):
        table.add_row(part.label, f"{part.parameters:,}", *_cells(part.cost))
    table.add_section()
    parameters = sum(count for count, _ in sites.values())
    table.add_row("all", f"{parameters:,}", *_cells(generation_cost(ring, candidates, examples)))
    if ring.inputs("candidate"):
        table.add_row("unstaged", "", *_cells(generation_cost(unstaged(ring), candidates, examples)))
    table.add_row("before the first", "", *_cells(_once(compiled, examples)))
    return table


def time_table(compiled: Compiled, examples: int, rate: Rate) -> Table:
    """Seconds of a generation, and of a whole run, here and on the networks of `compare.py`."""
    ring, candidates = compiled.ring, compiled.options.popsize
    generation, once = generation_cost(ring, candidates, examples), _once(compiled, examples)
    generations = -(-BUDGET // candidates)
    table = _table("expected time", "parties", "one generation", f"{BUDGET:,} evaluations, {generations:,} generations")
    here = rate.seconds(generation)
    table.add_row("on this machine", seconds(here), seconds(rate.seconds(once) + generations * here))
    for network in NETWORKS:
        each = rate.on(network, generation)
        table.add_row(str(network), seconds(each), seconds(rate.on(network, once) + generations * each))
    return table


def attention_line(compiled: Compiled, examples: int) -> str:
    """Which attention the program has, and what a generation sends with it and with the other (on assumed ranges)."""
    options, candidates = compiled.options, compiled.options.popsize
    names = {"softmax": "softmax", "rfa": "random features, which take an adapter"}
    other = replace(options, attention="rfa" if options.attention == "softmax" else "softmax")
    said = f"{names[options.attention].split(',')[0]}: {_sent(compiled.ring, candidates, examples)} per generation"
    try:
        elsewhere = lower(build_plan(compiled.spec, other), None, Ranges()).ring
    except ProblemsFound:  # on assumed norms it may not fit the ring
        return said
    return f"{said}; {names[other.attention]}: {_sent(elsewhere, candidates, examples)}"


def placement_line(compiled: Compiled, examples: int) -> str | None:
    """What a prompt ahead of a decoder's text costs a generation, and behind it; None where there is no such prompt."""
    options, candidates = compiled.options, compiled.options.popsize
    if not compiled.spec.causal or not options.n_prompt_tokens or options.prompt_at != "start":
        return None
    plan = build_plan(compiled.spec, replace(options, prompt_at="end"))
    ranges = Ranges(compiled.plan.meta.get("calibration", {}))
    said = f"ahead of the text, which is computed anew for each: {_sent(compiled.ring, candidates, examples)}"
    try:
        behind = lower(plan, None, ranges).ring
    except ProblemsFound:  # on assumed norms it may not fit the ring
        return f"{said} per generation"
    return f"{said} per generation; behind it (--prompt-at end): {_sent(behind, candidates, examples)}"


def rings_line(ring: RingProgram) -> str:
    """The rings that results of protocols are in, by the number of their values."""
    sizes: dict[int, int] = {}
    for v in ring:
        if v.kind in COMMUNICATING:
            sizes[v.ring] = sizes.get(v.ring, 0) + v.size
    total, passed = sum(sizes.values()), 0
    for bits in sorted(sizes):
        passed += sizes[bits]
        if 2 * passed >= total:
            break
    return f"rings: results of protocols have {min(sizes)} to {max(sizes)} bits, half of them {bits} or less"


def uploads_line(ring: RingProgram) -> str:
    """What the owners send all three parties."""
    weights, example, candidate = (
        amount(uploaded_bytes(ring, kind), "B") for kind in ("weight", "example", "candidate")
    )  # fmt: skip
    return (
        f"owners send the parties: the model owner {weights} of weights, once; the data owner {example} per example, "
        f"once, and {candidate} per candidate"
    )


def _sent(ring: RingProgram, candidates: int, examples: int) -> str:
    return amount(generation_cost(ring, candidates, examples).bytes, "B")


def text_table(compiled: Compiled, rate: Rate | None = None) -> Table:
    """What a text and a step behind it cost, of a program that generates; with a rate, how long they take here and on
    the networks of `compare.py`."""
    ring, options = compiled.ring, compiled.options
    costs = {
        f"a text of up to {options.sequence_length} tokens": stage_cost(ring, Stage.EXAMPLE, 1),
        f"a step of {options.step_rows} rows": generation_cost(ring, 1, 1),
    }
    if rate is None:
        table = _table(f"text, and up to {options.max_new_tokens} tokens", "part", "traffic", "rounds", "MACs")
        for name, cost in costs.items():
            table.add_row(name, *_cells(cost))
        return table
    table = _table("expected time", "parties", *costs)
    table.add_row("on this machine", *(seconds(rate.seconds(cost)) for cost in costs.values()))
    for network in NETWORKS:
        table.add_row(str(network), *(seconds(rate.on(network, cost)) for cost in costs.values()))
    return table


def show(compiled: Compiled, examples: int, console: Console | None = None) -> None:
    """Print both tables, and what their numbers are."""
    console = console or Console(highlight=False)
    ring, text = compiled.ring, compiled.spec.head.kind == "tokens"
    console.print(text_table(compiled) if text else cost_table(compiled, examples))
    try:
        rate = measure()
        console.print(text_table(compiled, rate) if text else time_table(compiled, examples, rate))
        computing = (
            f"{amount(rate.macs_per_second, 'MAC')} and {amount(rate.bytes_per_second, 'B')} of traffic per second"
        )
        here = f"this machine: {computing}, measured just now on all cores; whatever else runs slows both"
    except BinaryMissing as error:
        here = f"this machine: no expected times, {error}"
    kept = (
        f"memory: between steps a party keeps {amount(kept_bytes(ring, Stage.SETUP), 'B')} of shares of the model "
        f"and {amount(kept_bytes(ring, Stage.EXAMPLE), 'B')} per example"
    )
    notes = [line for line in NOTES.splitlines() if not (text and line.startswith(("before", "unstaged")))]
    for line in (*notes, rings_line(ring), here, kept, uploads_line(ring)):
        console.print(line, markup=False)


def _table(title: str, first: str, *others: str) -> Table:
    """A table as wide as what is in it, numbers at the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _once(compiled: Compiled, examples: int) -> Estimate:
    """Before the first generation."""
    ring = compiled.ring
    return stage_cost(ring, Stage.SETUP, 1) + stage_cost(ring, Stage.EXAMPLE, examples)


def _cells(cost: Estimate) -> tuple[str, str, str]:
    return amount(cost.bytes, "B"), f"{cost.rounds}", amount(cost.macs, "")
