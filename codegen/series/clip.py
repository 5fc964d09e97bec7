"""min(x, L) as a series: what bounds the loss of an example for `--noise`, whatever the example is."""

from __future__ import annotations

from functools import cache
from math import pi

import numpy as np

from .elementary import Floats
from .fits import Fit, Samples, cheapest, fitted
from .nonlinear import PRECISE, SLACK

ERROR = 1e-2
"""Relative to L, and reached only at the bend: 96 to 384 harmonics. It is one opening per example and candidate, next
to thousands for the example's rows."""
BELOW = 1 / 32
"""Of L: how far below 0, where roundings may take a loss, the series is still x. As far below it turns back, smoothly:
the less it reaches beyond [0, L], the less an example can change."""
COUNTS = (32, 48, 64, 96, 128, 192, 256, 384)


def period(at: float, most: float) -> float:
    """Of the series that clips losses up to `most`: what is added to them leads back from L to 0."""
    return SLACK * max(most, at) + 4 * at


@cache
def clip(at: float, most: float, turn: float) -> Fit:
    """min(x, at) on [-at/32, most], to 1e-2·at with up to 384 harmonics; `turn`: its period, about `period(at, most)`.

    Nowhere is it far from [-at/16, at].
    """
    edge, most = at * BELOW, max(most, at)

    def f(x: Floats) -> Floats:
        """Over one period, from -2·edge on."""
        turned = (x + 2 * edge) ** 2 / (2 * edge) - 1.5 * edge  # from slope 0 to slope 1 at -edge
        back = (x - most) / (turn - 2 * edge - most) * pi / 2
        down = at - (at + 1.5 * edge) * np.sin(back) ** 2
        return np.where(x < -edge, turned, np.where(x > most, down, np.minimum(x, at)))

    def make(n: int) -> Fit:
        inside = np.linspace(-edge, most, 8 * n + 200)
        step = inside[1] - inside[0]
        outside = np.concatenate([np.arange(-2 * edge, -edge, step), np.arange(most, turn - 2 * edge, step)[1:]])
        x = np.concatenate([inside, outside])
        return fitted(
            Samples(x, f(x), np.ones_like(x), inside.size), turn, list(range(1, n + 1)), PRECISE, cosines=True,
            sines=True,
        )  # fmt: skip

    return cheapest(make, ERROR * at, COUNTS)
