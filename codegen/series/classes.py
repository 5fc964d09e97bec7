"""A layer's neurons in classes of reach, each with a series of its own.

Harmonics grow with a series' interval, and the interval that serves a whole layer is that of the neuron that goes
furthest. Few come near it: nine tenths of MiniLM's neurons need half of it or less. So the model owner orders neurons
by reach, in W_in's rows and W_out's columns, and cuts where that saves harmonics. Sizes and intervals of the classes
are in the program; which neuron is where is in the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from .activations import Activation
from .elementary import Floats
from .fits import Fit
from .nonlinear import even_part

STEP = 0.5
"""Between the half widths that intervals may have."""
SHARE, LEAST = 0.02, 16
"""A class more must save as many harmonics as a series on the layer's interval has for that share of its neurons, and
for so many: it is one more operation, and one more store of randomness."""


@dataclass(frozen=True)
class NeuronClass:
    """Neurons whose activation's even part is the same series, of period 4·`width`."""

    size: int
    width: float
    fit: Fit


@dataclass(frozen=True)
class Neurons:
    """A layer's neurons: `order` `[inner]` has their numbers in the model, class by class."""

    order: NDArray[np.intp]
    classes: tuple[NeuronClass, ...]

    @property
    def periods(self) -> Floats:
        """Of each neuron's series, in that order."""
        return np.repeat([4 * each.width for each in self.classes], [each.size for each in self.classes])

    @property
    def norm(self) -> float:
        """What the even parts of all neurons are no longer than, wherever their inputs are."""
        return sqrt(sum(each.size * each.fit.bound**2 for each in self.classes))


def alike(count: int, width: float, fit: Fit) -> Neurons:
    """Neurons in one class."""
    return Neurons(np.arange(count), (NeuronClass(count, width, fit),))


def classified(act: Activation, width: float, reach: Floats) -> Neurons:
    """Neurons `[inner]` in the classes that take the fewest harmonics.

    `width` serves the layer, and its neurons may all do with less. `reach` says how far each neuron goes: what lies
    beyond the layer's interval is left out in every class, as it is without classes.
    """
    widths = np.minimum((reach + act.linear_beyond) / 2, width)
    order = np.argsort(widths, kind="stable")
    choice = _choice(act, width)
    served = np.searchsorted(widths[order], [each for each, _ in choice], side="right")
    served = served[: np.searchsorted(served, len(order)) + 1]  # up to the first interval that serves all
    cuts = _cheapest(served, [len(fit.m) for _, fit in choice[: len(served)]])
    sizes = np.diff([0, *served[cuts]])
    return Neurons(order, tuple(NeuronClass(int(n), *choice[i]) for n, i in zip(sizes, cuts, strict=True)))


def _choice(act: Activation, width: float) -> list[tuple[float, Fit]]:
    """Half widths up to `width` with their series: of those with as many harmonics the widest."""
    narrower = np.arange(STEP, 2 * width - act.linear_beyond, STEP).tolist()
    widths = [*((half + act.linear_beyond) / 2 for half in narrower), width]
    widest = {len(fit.m): (each, fit) for each in widths for fit in [even_part(act.name, each)]}
    return sorted(widest.values(), key=itemgetter(0))


def _cheapest(served: NDArray[np.intp], harmonics: list[int]) -> list[int]:
    """Which intervals to take: the last, which serves all, and others before it. `served`: neurons that each serves."""
    worth = max(SHARE * served[-1], LEAST) * harmonics[-1]
    # of the best choice that ends with none, with the first interval, the second, …
    cost: list[float] = [0.0]
    taken: list[list[int]] = [[]]
    before = [0, *served]
    for i, m in enumerate(harmonics):
        costs = [cost[j] + (before[i + 1] - before[j]) * m for j in range(i + 1)]
        best = int(np.argmin(costs))
        cost.append(costs[best] + worth)
        taken.append([*taken[best], i])
    return taken[-1]
