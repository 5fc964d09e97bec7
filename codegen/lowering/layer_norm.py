"""Layer norm in the ring, without its affine part: that is folded into the weights that come next.

    x̂ = (y - mean y) / √(variance + eps),   variance = ‖y - mean y‖² / h

One opening per row: the squared length of the centred row becomes the phase of a fit of 1/√(s/h + eps).
"""

from __future__ import annotations

from math import ceil, floor, log2, sqrt
from typing import NamedTuple

import numpy as np

from ..ring.builder import COARSE, RingBuilder, bits_for
from ..ring.values import Floats, WideWeights
from ..series.fits import Fit
from ..series.nonlinear import SLACK, inverse_root
from ..series.ranges import Ranges
from .health import Watch
from .scales import INVERSE, LONG, ROW

STRETCH = 0.02
"""How much longer than √h a normalised row may come out, relative. An inverse root's fit errs by 1e-3 on intervals
whose ends differ by a factor of up to 1,000; from about 5,000 on by more than this."""


class Norm(NamedTuple):
    """Names of a layer norm's gamma and beta, whose affine part the rows before a product still lack.

    W (gamma∘x̂ + beta) + b = (W gamma) x̂ + (W beta + b): the model owner folds both into the product's weights.
    """

    gamma: str
    beta: str

    def matrix(self, w: WideWeights, weight: str) -> Floats:
        """W gamma, transposed, `[in, out]`."""
        return np.asarray((w[weight] * w[self.gamma]).T)

    def offset(self, w: WideWeights, weight: str, bias: str) -> Floats:
        """W beta + b, `[out]`."""
        return np.asarray(w[bias] + w[weight] @ w[self.beta])


def inverse_scale(fit: Fit, high: float, bits: int = INVERSE) -> int:
    """Scale of an inverse length whose square is at most `high`: with so many bits of the least."""
    return min(bits + max(0, ceil(log2(high) / 2)), fit.scale)


def centred(m: Floats) -> Floats:
    """A matrix or vector whose products have rows of mean zero: the last axis less its mean."""
    return np.asarray(m - m.mean(axis=-1, keepdims=True))


def normalise_any(r: RingBuilder, ranges: Ranges, y: int, eps: float, site: str, watch: Watch | None = None) -> int:
    """Layer norm of rows `[…, h]` that no weights have centred.

    h·y - Σy is the centred row times h, in integers; layer norm does not see the factor.
    """
    hidden = r[y].shape[-1]
    return normalise(r, ranges, r.sub(r.times(y, hidden), r.sum(y, -1)), eps, site, bits_for(hidden), watch=watch)


def normalise(
    r: RingBuilder,
    ranges: Ranges,
    centred: int,
    eps: float,
    site: str,
    bits: int = 0,
    mean: int | None = None,
    live: int | None = None,
    watch: Watch | None = None,
) -> int:
    """Layer norm of centred rows `[…, h]`: x̂ at scale `ROW`, ‖x̂‖ <= (1 + `STRETCH`)·√h.

    Right where the variances lie within the interval that `ranges` has for `site`. `bits` > 0: the rows are h times too
    large, and the truncation takes 2^bits of that away. `mean`: weights `[1, R]` that add up to one; the result is the
    mean of x̂, `[1, h]`. As x̂ is a row times a number, the weights meet the numbers, and one row is truncated
    instead of R. So does a mask `live` `[R]` of rows that are kept; the others become 0 ± 1 unit, whatever they were:
    R numbers are reshared, in one round. `watch` is told how each row came out.
    """
    hidden = r[centred].shape[-1]
    shrink = hidden / 2.0**bits if bits else 1.0
    low, high = (variance * shrink**2 for variance in ranges.variance(site))
    # a row inside the calibrated interval is no longer than √(h·high); one outside is the caller's risk
    r.declare(centred, bound=2 * sqrt(hidden * high) * 2.0**bits)
    row = r.trunc(centred, min(LONG - floor(log2(low) / 2), r[centred].scale + bits - 1), -bits)
    square = r.sum(r.mul(row, row), -1)
    theta, period = r.phase(square, SLACK * hidden * (high - low), COARSE)
    fit = inverse_root(hidden * low, hidden * high, period, divisor=hidden, eps=eps * shrink**2)
    inverse = r.fourier(theta, fit, inverse_scale(fit, high))
    if watch:
        watch.norm(square, inverse, hidden, fit, eps * shrink**2 / low)
    if live is not None:
        inverse = r.reshare(r.mul(inverse, r.reshape(live, r[inverse].shape), bound=fit.bound))
    longest = (1 + max(STRETCH, fit.error)) * sqrt(hidden)
    if mean is None:
        normed = r.mul(row, inverse, bound=longest)
    else:
        weighted = r.trunc(r.mul(mean, r.reshape(inverse, r[mean].shape)), 2 * ROW)
        normed = r.matmul(weighted, row, bound=longest)
    return r.declare(r.trunc(normed, ROW), norm=longest)
