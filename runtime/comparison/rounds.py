"""Which variant of its program (`--rounds`) is the better one for a step on each of the networks, by what both cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from ...codegen.commandline.units import amount, seconds
from ...codegen.model.options import RoundsChoice
from ...codegen.native.network import NETWORKS, Network
from ...codegen.native.rate import Rate
from ...codegen.ring.cost import Estimate, generation_cost
from .task import Task

VARIANTS: tuple[RoundsChoice, ...] = get_args(RoundsChoice)


@dataclass(frozen=True)
class Choice:
    """Seconds that a step should take on a network, by the variant's name."""

    network: Network
    seconds: Mapping[str, float]

    @property
    def best(self) -> str:
        """The variant that takes least; of equals the first."""
        return min(self.seconds, key=lambda name: self.seconds[name])

    def __str__(self) -> str:
        times = ", ".join(f"{name} {seconds(time)}" for name, time in self.seconds.items())
        return f"{self.network}: --rounds {self.best} ({times})"


def step_costs(task: Task) -> dict[str, Estimate]:
    """What a step of each variant costs. Raises ProblemsFound."""
    rings = {name: (task.compiled if name == task.options.rounds else task.lowered(name)).ring for name in VARIANTS}
    return {name: generation_cost(ring, len(task.z), len(task.batch)) for name, ring in rings.items()}


def choices(costs: Mapping[str, Estimate], rate: Rate) -> list[Choice]:
    """What each network makes of them, on machines as fast as this one."""
    return [Choice(network, {name: rate.on(network, cost) for name, cost in costs.items()}) for network in NETWORKS]


def lines(costs: Mapping[str, Estimate], rate: Rate) -> Iterator[str]:
    """Both variants' costs, then the better one on each network, to be read."""
    sizes = "; ".join(f"{name} {cost.rounds} rounds, {amount(cost.bytes, 'B')}" for name, cost in costs.items())
    yield f"--rounds of the embedded program, by the costs of a step in one tile: {sizes}. The better one on"
    yield from (f"  {choice}" for choice in choices(costs, rate))
