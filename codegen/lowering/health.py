"""How many rows came out wrong: what `--health` opens behind each loss. Three kinds of numbers per row are watched
(`series/health.py`):

* **A layer norm's rows.** x̂ = y·v with v a fit of 1/√(s/h + eps), s = ‖y‖². Inside the fit's interval ‖x̂‖²/h = s·v²/h
  is 1; outside v is anything, and so is s·v². Both s and v are numbers per row and there already, also where rows are
  averaged and no x̂ is made.
* **Softmax's row sums.** A row's output is Σ_j w_j v_j · r(n) with r a fit of 1/n, n = Σ_j w_j. n·r(n) is 1 inside the
  fit's interval only.
* **Random features' denominators**, which may lie below their floor: whether they are inside their fit's interval.

Of the last two each of H heads counts 1/H of a row. A row costs two truncations of numbers and one opening, a row of
a head at most one reshared number and one opening, next to hundreds for the row itself. They run beside the next
layer's: up to four more rounds per layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ring.builder import RingBuilder
from ..ring.program import Sharing
from ..series.fits import Fit
from ..series.health import PERIOD, off, off_by, outside
from .scales import LOGIT

SQUARE, INVERSE = 16, 26
"""Largest scales of s and of v²: with their sum, 42, a phase is there for rows of up to 16,384."""
NOISE = 1e-3
"""Relative, of s·v²: v has 12 bits or more, whatever the variances. n·r(n) has less."""
ROUNDING = 2.0**-16
"""Absolute, of f in the VM, where harmonics and phasors have 16 bits. The mean over rows is meant: single errors of
either sign are larger. Measured on the tests' toys: 1e-4 for 45 rows, a seventh of this."""
LEFT_OUT = 5e-4
"""Share of row sums that may be outside although little is wrong: calibration leaves the smallest out
(`Ranges.row_sum`). MiniLM on AG News and SST-2: 0.06 and 0.03 wrong rows per example, nearly all in the lowest layer,
where 1.3 % of a head's sums are too small to be inverted; this share of its rows is 0.1, the limit 0.2."""


@dataclass
class Health:
    """Sums f (`series/health.py`) over the live rows that it is told of."""

    r: RingBuilder
    limit: float = 0.0
    """No sum is larger while all rows are inside their intervals: the fits' own errors, rounding, `LEFT_OUT`."""
    _sums: list[int] = field(default_factory=list)

    def watching(self, live: int | None) -> Watch:
        """For rows that count where `live` `[R]` (scale 0) is 1; None: all do."""
        return Watch(self, live)

    def count(self, wrong: int, live: int | None, allowed: float) -> None:
        """Add f `[R, 1]` or `[H, R, 1]`, of which each row may hold `allowed` while all is well."""
        r = self.r
        *heads, rows, _ = r[wrong].shape
        if heads:
            wrong = r.reshape(r.sum(wrong, -3), (rows, 1))
        total = r.matmul(r.reshape(live, (1, rows)), wrong) if live is not None else r.sum(wrong, -2)
        self._sums.append(r.reshape(total, (1,)))
        self.limit += rows * allowed

    def behind(self, loss: int, weight: int, total: float = 1.0) -> int:
        """The mean loss and, behind it, the weighted mean over examples of the number of wrong rows, `[2]`; weights
        add up to `total` at most."""
        r = self.r
        by_stage: dict[int, int] = {}
        for i in self._sums:  # rows of examples add up before they meet candidates
            stage = int(r[i].stage)
            by_stage[stage] = r.add(by_stage[stage], i) if stage in by_stage else i
        first, *more = by_stage.values()
        for i in more:
            first = r.add(first, i)
        mean = r.reduce_examples(r.mul(r.trunc(first, LOGIT), weight), total)
        return r.concat((loss, mean), -1)


@dataclass(frozen=True)
class Watch:
    """Told of some rows' numbers as they are made; rows count where `live` `[R]` (scale 0) is 1, None: all do."""

    health: Health
    live: int | None

    def norm(self, square: int, inverse: int, hidden: int, fit: Fit, eps: float) -> None:
        """A layer norm: s `[R, 1]` and v `[R, 1]`, the row's length h, v's fit, and eps over the smallest variance."""
        r = self.health.r
        s = r.trunc(square, min(SQUARE, r[square].scale - 1))
        v2 = r.mul(inverse, inverse)
        v2 = r.trunc(v2, min(INVERSE, r[v2].scale - 1))
        allowed = off_by((1 + fit.error) ** 2 - 1 + eps + NOISE) + ROUNDING
        self._count_off(r.mul(s, v2, bound=PERIOD * hidden), hidden, 1.0, allowed)

    def row_sum(self, total: int, inverse: int, error: float) -> None:
        """Softmax: n `[H, R, 1]` at scale `ROW`, 1/n `[H, R, 1]` and its relative error."""
        r = self.health.r
        heads = r[total].shape[0]
        n = r.reshare(total) if r[total].sharing is Sharing.ADD else total
        allowed = off_by(error + NOISE) + heads * ROUNDING + LEFT_OUT
        self._count_off(r.mul(n, inverse, bound=PERIOD), 1.0, 1 / heads, allowed)

    def denominator(self, x: int, low: float, high: float) -> None:
        """Random features: x `[H, R, 1]` and the interval that its reciprocal is fitted on."""
        r = self.health.r
        heads = r[x].shape[0]
        theta, period = r.phase(x, 2 * (high - low))
        stretch = period / (2 * (high - low))  # what the phase's integer factor makes of the period
        fit = outside(stretch * low, stretch * high, 1 / heads)
        self.health.count(r.fourier(theta, fit), self.live, heads * (fit.error + ROUNDING))

    def _count_off(self, product: int, one: float, share: float, allowed: float) -> None:
        """Additive numbers that are `one` where they are right."""
        r = self.health.r
        # a product beyond its bound wraps, as the phase made of it does anyway
        theta, period = r.phase(product, PERIOD * one)
        self.health.count(r.fourier(theta, off(period / one, share)), self.live, allowed)
