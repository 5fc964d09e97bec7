"""How many rows a layer norm gave a wrong length: what `--health` opens behind each loss.

A layer norm's rows are x̂ = y·v with v a fit of 1/√(s/h + eps), s = ‖y‖². Inside the fit's interval ‖x̂‖² = s·v² is
h; outside v is anything, and so is s·v². Both s and v are numbers per row and there already, also where rows are
averaged and no x̂ is made. So a row costs three truncations of numbers and one opening, next to hundreds of each for the
row itself. They run beside the next layer's: a step takes four more rounds in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..ring.builder import RingBuilder
from ..series.fits import Fit
from ..series.health import PERIOD, off, off_by
from .scales import ROW

Watch = Callable[[int, int, int, Fit, float], None]
"""Told of a layer norm: s `[R, 1]` and v `[R, 1]`, the row's length h, v's fit, and eps over the smallest variance."""
SQUARE, INVERSE = 16, 26
"""Scales of s and of v²: with their sum, 42, a phase is there for rows of up to 16,384."""
NOISE = 5e-4
"""Relative, of s·v²: roundings of s, v and v² for variances from 1e-4 to 1e4."""
ROUNDING = 2.0**-16
"""Absolute, of f in the VM, where harmonics and phasors have 16 bits. The mean over rows is meant: single errors of
either sign are larger. Measured on the tests' toys: 1e-4 for 45 rows, a seventh of this."""


@dataclass
class Health:
    """Sums f (`series/health.py`) over the live rows of all layer norms it is told of."""

    r: RingBuilder
    limit: float = 0.0
    """No sum is larger while all rows are inside their intervals: the fits' own errors, rounding."""
    _sums: list[int] = field(default_factory=list)

    def watching(self, live: int | None) -> Watch:
        """For a layer norm whose rows count where `live` `[R]` (scale 0) is 1; None: all do."""

        def watch(square: int, inverse: int, hidden: int, fit: Fit, eps: float) -> None:
            r = self.r
            s = r.trunc(square, SQUARE)
            v = r.trunc(inverse, INVERSE)
            v2 = r.trunc(r.mul(v, v), INVERSE)
            # a product beyond its bound wraps, as the phase made of it does anyway
            theta, period = r.phase(r.mul(s, v2, bound=PERIOD * hidden), PERIOD * hidden)
            wrong = r.fourier(theta, off(period / hidden))
            rows = r[wrong].shape[-2]
            total = r.matmul(r.reshape(live, (1, rows)), wrong) if live is not None else r.sum(wrong, -2)
            self._sums.append(r.reshape(total, (1,)))
            self.limit += rows * (off_by((1 + fit.error) ** 2 - 1 + eps + NOISE) + ROUNDING)

        return watch

    def behind(self, loss: int, weight: int) -> int:
        """The mean loss and, behind it, the weighted mean over examples of the number of wrong rows, `[2]`."""
        r = self.r
        by_stage: dict[int, int] = {}
        for i in self._sums:  # rows of examples add up before they meet candidates
            stage = int(r[i].stage)
            by_stage[stage] = r.add(by_stage[stage], i) if stage in by_stage else i
        first, *more = by_stage.values()
        for i in more:
            first = r.add(first, i)
        mean = r.reduce_examples(r.mul(r.trunc(first, ROW), weight))
        return r.concat((loss, mean), -1)
