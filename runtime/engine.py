"""What the tuning loop needs of an engine: the embedded VM, MP-SPDZ or (no privacy) the clear oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Told how many parts of how many are done, from whatever thread knows; 0 of 0 when a step begins."""


@dataclass(frozen=True)
class Batch:
    """One set of examples as the data owner embedded it: for every `example` input of the program, an array
    `[E, *shape]` in real units."""

    inputs: dict[str, Floats]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def part(self, some: slice) -> Batch:
        """Some of the examples."""
        return Batch({name: values[some] for name, values in self.inputs.items()})


@dataclass
class Cost:
    """What the parties reported, summed over all three (seconds and peak memory: the largest)."""

    seconds: float = 0.0
    bytes_sent: int = 0
    rounds: int = 0
    peak_bytes: int = 0
    steps: int = field(default=0)

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(
            self.seconds + other.seconds, self.bytes_sent + other.bytes_sent, self.rounds + other.rounds,
            max(self.peak_bytes, other.peak_bytes), self.steps + other.steps,
        )  # fmt: skip

    def since(self, earlier: Cost) -> Cost:
        """What came after an earlier reading of the same counters; the peak is that of all."""
        return Cost(
            self.seconds - earlier.seconds, self.bytes_sent - earlier.bytes_sent, self.rounds - earlier.rounds,
            self.peak_bytes, self.steps - earlier.steps,
        )  # fmt: skip


@dataclass
class Account:
    """What a run has cost so far, by phase, over all its sessions."""

    phases: dict[str, Cost]
    read: Cost = field(default_factory=Cost)
    """The engine's counters, which begin with the session, when they were last read."""

    def book(self, phase: str, now: Cost) -> Cost:
        """What was spent since the last entry goes to a phase; returns the total."""
        self.phases[phase] = self.phases.get(phase, Cost()) + now.since(self.read)
        self.read = now
        return self.total

    @property
    def total(self) -> Cost:
        """Of all phases."""
        return sum(self.phases.values(), Cost())


@dataclass(frozen=True)
class Left:
    """What the parties still open under the program's limits; None: there is no limit."""

    evaluations: int | None = None
    """Losses: one per candidate and set."""
    logit_rows: int | None = None
    """Logits of one example under one candidate."""


class Engine(Protocol):
    """A running service that holds weights and examples and evaluates candidates."""

    name: str
    private: bool

    def load_examples(self, name: str, batch: Batch) -> None:
        """Share a set of examples under a name; replaces an earlier one."""

    def losses(self, name: str, z: Floats) -> Floats:
        """Loss of every candidate, z `[C, d]` -> `[C]`: opened to the data owner only.

        Of a program with `--health` `[C, 2]`: behind the loss how many rows per example have a wrong length.
        """

    def logits(self, name: str, z: Floats) -> Floats:
        """Label logits of one set under one prompt, z `[d]` -> `[E, L]`: opened to the data owner only."""

    def allowance(self) -> Left:
        """What may be asked for before the program's limits are reached."""

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Keep the mean embedding of each label's examples of a set under one prompt, z `[d]`, times the shots' weight
        in z, in place of what was kept before, or added to it: prototypes are made with it from then on. Of a program
        with `--prototype-shots`; nothing is opened.
        """

    def cost(self) -> Cost:
        """Total so far."""

    def close(self) -> None:
        """Stop the parties."""
