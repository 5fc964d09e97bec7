"""Canaries: candidates whose loss the data owner knows already, at places of a step that no party can tell.

Parties see shares of candidates, and how many there are. A canary is, by the toss of a coin, the same candidate as
another of its step, whose two losses must agree, or z = 0, whose loss was measured at the start. So a party that
changes some results of a step, or all of them unlike at the start, is found out with the probabilities in
docs/security.md.

The coin is the operating system's, so that neither the search's random numbers nor its candidates depend on it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..engine import Floats
from ..errors import SecfwtError

TOLERANCE = 0.02
"""Largest difference of two losses of one candidate, of the loss where that is above 1. Roundings make differences of
2e-4 with MiniLM."""


class CanaryError(SecfwtError):
    """Two losses that must be equal are not: a party deviates, a machine computes wrong, or values have left their
    ranges."""

    exit_code = 3
    resumable = True


@dataclass(frozen=True)
class Mixed:
    """A step's candidates and canaries, `[C + k, d]`."""

    z: Floats
    places: NDArray[np.int64]
    """Where the candidates are, in their order, `[C]`."""
    canaries: dict[int, int | None]
    """By place, the place of its equal; None: z = 0."""


@dataclass
class Canaries:
    """One canary for so many candidates of a step, at least one; 0: none."""

    every: int
    known: dict[str, float] = field(default_factory=dict)
    """By set, the loss at z = 0, once it has been measured."""
    chance: random.Random = field(default_factory=random.SystemRandom)

    def count(self, candidates: int) -> int:
        """Canaries of a step: the same in every step of that size, or parties would know which to behave in."""
        return max(1, round(candidates / self.every)) if self.every else 0

    def mix(self, name: str, z: Floats) -> Mixed:
        """Candidates `[C, d]` of a step on a set, and canaries among them."""
        total = len(z) + self.count(len(z))
        chosen = set(self.chance.sample(range(total), total - len(z)))
        places = np.array([i for i in range(total) if i not in chosen], np.int64)
        mixed = np.zeros((total, z.shape[1]))
        mixed[places] = z
        canaries: dict[int, int | None] = {}
        for place in sorted(chosen):
            zero = name in self.known and self.chance.random() < 0.5
            canaries[place] = None if zero else int(self.chance.choice(places))
            if (equal := canaries[place]) is not None:
                mixed[place] = mixed[equal]
        return Mixed(mixed, places, canaries)

    def check(self, name: str, mixed: Mixed, losses: Floats) -> None:
        """Compare canaries with what they must be; `losses` `[C + k]`, NaN for those that are no loss and count as
        rejected. Raises CanaryError."""
        for place, equal in mixed.canaries.items():
            found, due = losses[place], self.known[name] if equal is None else losses[equal]
            most = TOLERANCE * max(1.0, abs(due))
            if abs(found - due) > most:  # not for NaN
                what = "z = 0 has another loss than at the start" if equal is None else "one candidate has two losses"
                raise CanaryError(
                    f"{name} set: {what}, {due:.4f} and {found:.4f}; roundings explain {most:.2g}. A party "
                    "deviates, a machine computes wrong, or values leave the calibrated ranges. What came since the "
                    "last complete generation is not used; --canaries 0 goes on without this check"
                )
