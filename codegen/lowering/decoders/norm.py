"""The norm of rows of the residual stream, without its affine part: x̂ = x/√(‖x‖²/h + eps).

Layer norm is the same here: embeddings, W_o and W_out are made so that all rows have mean 0 (`centred`).
One opening per row: its squared length becomes the phase of a fit of the inverse root.
"""

from __future__ import annotations

from math import floor, log2, sqrt

from ...commandline.problems import Problem, ProblemsFound
from ...ring.builder import RingBuilder
from ...series.nonlinear import SLACK, inverse_root
from ...series.ranges import Ranges
from ..health import Watch
from ..layer_norm import STRETCH, inverse_scale
from ..scales import ROW, STREAM

WORST = 0.02
"""Relative error of a fit that is still accepted: intervals whose ends differ by up to some 10,000."""


def longest_row(ranges: Ranges, site: str, n: int) -> float:
    """What a row of n columns before the norm `site` is no longer than, with room for twice the interval's longest: one
    beyond is the caller's risk, not an overflow."""
    return 2 * sqrt(n * ranges.variance(site)[1])


def stream_scale(ranges: Ranges, site: str) -> int:
    """Scale of rows of the residual stream whose mean squares are observed at `site`."""
    return STREAM - floor(log2(ranges.variance(site)[0]) / 2)


def normalised(
    r: RingBuilder, ranges: Ranges, x: int, eps: float, site: str, live: int | None = None, watch: Watch | None = None
) -> int:
    """x̂ `[…, n]` at scale `ROW` of rows x `[…, n]`, ‖x̂‖ ≤ (1 + `STRETCH`)·√n; 0 ± 1 unit where the mask
    `live`, of as many elements as there are rows, is 0.

    Right where ‖x‖²/n lies in the interval that `ranges` has for `site`. Raises ProblemsFound where no series serves
    that.
    """
    n = r[x].shape[-1]
    low, high = ranges.variance(site)
    longest = longest_row(ranges, site, n)
    x = r.declare(x, bound=longest, norm=longest)
    square = r.sum(r.mul(x, x), -1, bound=longest**2)
    theta, period = r.phase(square, SLACK * n * (high - low))
    fit = inverse_root(n * low, n * high, period, divisor=n, eps=eps)
    if fit.error > WORST:
        place = site.replace("layers.", "layer ").replace(".", ", ")
        raise ProblemsFound([Problem(
            "error", f"{place}: mean squares of rows lie from {low:.3g} to {high:.3g}",
            f"The inverse root of such an interval errs by {100 * fit.error:.0f} %, accepted: {100 * WORST:.0f} %.",
        )])  # fmt: skip
    inverse = r.fourier(theta, fit, inverse_scale(fit, high))
    if watch:
        watch.norm(square, inverse, n, fit, eps / low)
    if live is not None:
        inverse = r.reshare(r.mul(inverse, r.reshape(live, r[inverse].shape), bound=fit.bound))
    unit = (1 + max(STRETCH, fit.error)) * sqrt(n)
    return r.declare(r.trunc(r.mul(x, inverse, bound=unit), ROW), norm=unit)
