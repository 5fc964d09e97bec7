"""By what the data owner notices a loss that is wrong: what a loss can be, and canaries, whose loss it knows.

A loss or logit that cannot be shows that values have left the ranges that the program's series were fitted on, where a
series is periodic and its result looks like any other number. With differences of L logits within ±w:

    0 <= cross entropy <= log(1 + (L-1) e^w) <= w + log L
    0 <= hinge         <= (L-1) (margin + w)

and so is every weighted mean of losses. With noise a loss is clipped, and lies where the clip's series does; what was
opened is off by the noise of three parties, by more than six standard deviations once in 5·10^8 losses.

Canaries are candidates at places of a step that no party can tell. By the toss of a coin, one is the same candidate as
another of its step, whose two losses must agree, or z = 0, whose loss was measured at the start. So a party that
changes some results of a step, or all of them unlike at the start, is found out with the probabilities in
docs/security.md.

The coin is the operating system's, so that neither the search's random numbers nor its candidates depend on it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from ...codegen.lowering.head import LOGIT_ROOM
from ...codegen.mpspdz.options import MpSpdzOptions
from ...codegen.plan.graph import Plan
from ...codegen.series.nonlinear import HINGE_ERROR
from ..engine import Floats
from ..errors import SecfwtError

SLACK = 0.05
"""Room at both ends for roundings and the series' errors. A cross entropy is ⌈log2 L⌉ openings deep, each exact to 1e-4
in the embedded engine and to 5e-4 in MP-SPDZ: ten times what 500 labels add up to."""
HINGE_SLACK = 2 * HINGE_ERROR
"""The same for every label of a hinge loss: twice its series' error, for an interval too wide to reach that."""


@dataclass(frozen=True)
class Limits:
    """Smallest and largest loss that can be, largest magnitude of a logit, and most wrong rows per example that
    `health` shows while all values are inside their ranges. The default admits all that is finite."""

    low: float = -inf
    high: float = inf
    logit: float = inf
    health: float = inf

    def admits(self, losses: Floats) -> NDArray[np.bool_]:
        """Which losses can be, as booleans; NaN and infinity cannot."""
        return np.isfinite(losses) & (losses >= self.low) & (losses <= self.high)

    def admits_logits(self, logits: Floats) -> NDArray[np.bool_]:
        """Which examples' logits `[…, L]` can be, `[…]`."""
        inside: NDArray[np.bool_] = np.all(np.isfinite(logits) & (np.abs(logits) <= self.logit), axis=-1)
        return inside

    def __str__(self) -> str:
        """The accepted losses, for messages."""
        high = "" if self.high == inf else f" to {self.high:.4g}"
        return "finite" if self.low == -inf else f"from {self.low:.4g}{high or ' on'}"


PARTIES = 3
"""That add noise."""
DEVIATIONS = 6.0
"""Of a sum of noise that nothing is said about."""


def limits(
    plan: Plan, width: float = inf, health: float | None = None, clipped: tuple[float, float] | None = None,
    noise: float = 0.0,
) -> Limits:  # fmt: skip
    """Limits of a plan's losses and logits. `width`: half the interval of differences of logits that its losses are
    computed on; the head may have a smaller one. `clipped`: between what losses lie before each party adds `noise`."""
    (v,) = (value for value in plan if value.kind == "loss")
    head = plan[v.inputs[0]]
    logit, labels = LOGIT_ROOM * head.bound, head.shape[-1]
    width = min(width, 2 * logit)
    if v.attrs["loss"] == "ce":
        low, high = -SLACK, width + log(labels) + SLACK
    else:
        slack = SLACK + labels * HINGE_SLACK
        low, high = -slack, (labels - 1) * (v.attrs["margin"] + width) + slack
    if clipped is not None:
        low, high = clipped
    room = DEVIATIONS * sqrt(PARTIES) * noise
    return Limits(low - room, high + room, logit, inf if health is None else health)


def mpspdz_width(loss: str, options: MpSpdzOptions) -> float:
    """Largest difference of two logits that a loss of `mpc_programs/lib/losses.py` is right for: twice the largest
    logit in its interval."""
    return 128.0 if loss == "ce" else 2.0 ** (options.value_bits - options.fraction_bits - 2)


TOLERANCE = 0.02
"""Largest difference of two losses of one candidate, of the loss where that is above 1. Roundings make differences of
2e-4 with MiniLM."""


class CanaryError(SecfwtError):
    """Two losses that must be equal are not: a party deviates, a machine computes wrong, values have left their ranges,
    or a run goes on with other weights than it began with."""

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
    noise: float = 0.0
    """Standard deviation of what each party adds to a loss: two losses of one candidate differ by √6 times as much."""
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

    def check(self, name: str, mixed: Mixed, losses: Floats, admitted: NDArray[np.bool_]) -> None:
        """Compare canaries with what they must be; `losses` `[C + k]` as opened, `admitted` where they can be that.

        Of two that both cannot be, both count as rejected and nothing is compared: where values overflow, equal
        candidates may differ. Raises CanaryError.
        """
        for place, equal in mixed.canaries.items():
            if equal is not None and not (admitted[place] or admitted[equal]):
                continue
            found, due = losses[place], self.known[name] if equal is None else losses[equal]
            most = TOLERANCE * max(1.0, abs(due)) + DEVIATIONS * sqrt(2 * PARTIES) * self.noise
            if not abs(found - due) <= most:
                explained = "roundings and noise explain" if self.noise else "roundings explain"
                what, causes = "one candidate has two losses", "or values leave the calibrated ranges"
                if equal is None:
                    what = "z = 0 has another loss than at the start"
                    causes = "values leave the calibrated ranges, or these are other weights than at the start"
                raise CanaryError(
                    f"{name} set: {what}, {due:.4f} and {found:.4f}; {explained} {most:.2g}. A party "
                    f"deviates, a machine computes wrong, {causes}. What came since the last complete generation is "
                    "not used; --canaries 0 goes on without this check"
                )
