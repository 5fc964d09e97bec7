"""What every kind of attention has: rows in parts, projections of them, heads side by side or in front."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil, floor, log2
from typing import ClassVar

import numpy as np

from ..plan.graph import Value
from ..ring.builder import RingBuilder
from ..ring.program import Sharing
from ..ring.values import HEADROOM
from ..series.fits import Fit
from ..series.ranges import LEAST_SUM_END, Ranges
from ..series.softmax import HARMLESS, InverseSum, inverse_sum, sum_period
from .health import Watch
from .layer_norm import Norm
from .scales import LEAST, RECIPROCAL, ROW, WEIGHT

CORRECTION_BITS = 330
"""About what a step of Newton's costs per sum, over all parties: it is shared anew, and two products are truncated."""
CORRECTION_ROUNDS = 4
"""How many it takes, while the sum is shared beside the series."""


@dataclass(frozen=True)
class Part:
    """Some of a layer's rows: normalised rows `[R, h]`, and their mask `[R]` (scale 0), None where all rows count.

    A row is 0 where the mask is: the data owner and the layer norm below see to that.
    """

    rows: int
    mask: int | None


@dataclass(frozen=True)
class Attention(ABC):
    """The attention `v` of one layer, over normalised rows whose affine part `norm` is still to come."""

    r: RingBuilder
    ranges: Ranges
    v: Value
    norm: Norm
    watch: Watch | None = None
    """Told of the rows that are read, where `--health` counts them."""

    @abstractmethod
    def attend(self, parts: tuple[Part, ...], reads: tuple[int, ...]) -> int:
        """All heads' outputs `[R, H·D]` at scale `ROW` for the rows that `reads` names, stacked; keys and values are
        those of all `parts`."""


class Weighing(Attention):
    """Attention by weights that are not negative: what they weigh over their sum n, in an interval that 1/n is fitted
    on."""

    least_end: ClassVar[float] = LEAST_SUM_END
    """What the interval reaches to at least."""

    def divided(self, total: int, numerator: int, longest: float) -> int:
        """All heads' outputs `[R, H·D]` at scale `ROW` of numerators `[H, R, D]` and sums `[H, R, 1]` of weights, of
        values of at most `longest`."""
        r = self.r
        # 1. 1/n
        low, high = self.ranges.row_sum(f"layers.{self.v.attrs['layer']}.row_sum", self.least_end)
        theta, turn = r.phase(total, sum_period(low, high))
        form = self._form(r[total].size, low, high, turn)
        inverse = r.fourier(theta, form.fit, RECIPROCAL)
        # Weights are not negative, so a numerator is at most n times the longest value, and its product with what
        # stands for 1/n at most that times the largest quotient, for every n that the fit is made for.
        sums = np.linspace(0, HARMLESS * high, 1 << 12)
        peak = 1.01 * float(np.max(np.abs(form.quotient(sums, turn))))
        if form.corrected:
            one = 1.01 * float(np.max(np.abs(sums * form.fit(sums / turn))))
            n = r.reshare(total) if r[total].sharing is Sharing.ADD else total
            product = r.trunc(r.mul(n, inverse, bound=one), RECIPROCAL)
            rest = r.sub(r.table(f"two.{RECIPROCAL}", np.array([2.0]), RECIPROCAL), product)
            inverse = r.trunc(r.mul(inverse, rest), RECIPROCAL)
        if self.watch:
            self.watch.row_sum(total, inverse, form.error)

        # 2. their product
        room = floor(HEADROOM - RECIPROCAL - log2(peak * longest))
        r.declare(numerator, bound=HARMLESS * high * longest)
        numerator = r.trunc(numerator, max(LEAST, min(ROW + 2, room)))
        out = r.trunc(r.mul(numerator, inverse, bound=peak * longest), ROW)
        return side_by_side(r, r.declare(out, bound=2 * longest))

    def _form(self, sums: int, low: float, high: float, turn: float) -> InverseSum:
        """How that many sums are inverted: what costs less, two more products a sum or three times the harmonics."""
        long, short = (inverse_sum(low, high, turn, corrected=corrected) for corrected in (False, True))
        spared = sums * (_bits(long.fit) - _bits(short.fit) - CORRECTION_BITS)
        return short if spared > CORRECTION_ROUNDS * self.r.round_bits else long


def _bits(fit: Fit) -> int:
    """About what the harmonics of one phase cost, over all parties: two numbers each."""
    return 2 * len(fit.m) * (fit.scale + ceil(log2(fit.bound)) + 2)


def projected(
    r: RingBuilder, v: Value, norm: Norm, name: str, x: int, *, factor: float = 1.0, mask: int | None = None
) -> int:
    """One of q, k, v of some rows, times a factor, `[R, H·D]` at scale `ROW`; with a mask `[R, 1]`, of rows that are 0
    where that is, 0 there as well."""
    a = v.attrs
    width = a["heads"] * a["head_dim"]
    weight, bias = (f"layers.{a['layer']}.{name}.{part}" for part in ("weight", "bias"))
    m = r.matrix(weight, (r[x].shape[-1], width), WEIGHT, lambda w: factor * norm.matrix(w, weight))
    b = r.weight(bias, (width,), WEIGHT + ROW, lambda w: factor * norm.offset(w, weight, bias))
    return r.trunc(r.add(r.product(x, m), b if mask is None else r.mul(mask, b)), ROW)


def values(r: RingBuilder, v: Value, norm: Norm, part: Part) -> tuple[int, int | None]:
    """m∘v `[H, R, D]` at scale `ROW`, and m `[R, 1]`, of some rows."""
    mask = None if part.mask is None else r.reshape(part.mask, (r[part.rows].shape[0], 1))
    return in_front(r, v, projected(r, v, norm, "v", part.rows, mask=mask), (1, 0, 2)), mask


def in_front(r: RingBuilder, v: Value, rows: int, axes: tuple[int, int, int]) -> int:
    """`[R, H·D]` with heads in front: as [R, H, D], permuted."""
    return r.permute(r.reshape(rows, (r[rows].shape[0], v.attrs["heads"], v.attrs["head_dim"])), axes)


def side_by_side(r: RingBuilder, out: int) -> int:
    """Heads' outputs `[H, R, D]` as `[R, H·D]`."""
    heads, rows, dim = r[out].shape
    return r.reshape(r.permute(out, (1, 0, 2)), (rows, heads * dim))
