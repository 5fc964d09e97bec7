"""Losses in the ring: differences of logits become phases, and each non-linearity is one opening."""

from __future__ import annotations

from ..ring.builder import RingBuilder
from ..ring.program import RingProgram
from ..series.clip import clip, period
from ..series.fits import Fit
from ..series.nonlinear import LOSS, hinge_bend, softplus
from ..series.ranges import LOGIT_DIFFERENCE, Ranges
from .scales import LOGIT

SCALE = LOSS.scale


def loss_width(ranges: Ranges) -> float:
    """Half width of the interval of differences of logits that losses are fitted on. What shots add to label words' is
    not among those that were seen."""
    return 2 * ranges.half_width("loss.diff", LOGIT_DIFFERENCE) + ranges.half_width("head.shots", 0.0)


def cross_entropy(r: RingBuilder, logits: int, target: int, width: float) -> int:
    """log Σ e^l - l_y for logits `[L]` and l_y `[1]`, both at one scale; differences of logits within ±`width`.

    By a tree of log(e^a + e^b) = (a+b)/2 + s(b-a) with s(x) = log 2cosh(x/2), even: ⌈log2 L⌉ openings deep.
    """
    level = r.raise_scale(logits, SCALE)
    while (count := r[level].shape[-1]) > 1:
        half = count // 2
        a, b = r.slice(level, -1, 0, half), r.slice(level, -1, half, 2 * half)
        theta, period = r.phase(r.sub(b, a), 4 * width)
        bent = r.fourier(theta, softplus(period / 4))
        joined = r.add(r.shift(r.add(a, b), -1), r.raise_scale(bent, r[level].scale + 1))
        r.declare(joined, bound=r[level].bound + 1)
        rest = (r.raise_scale(r.slice(level, -1, 2 * half, count), r[joined].scale),) if count % 2 else ()
        level = r.concat((joined, *rest), -1) if rest else joined
    return r.sub(level, r.raise_scale(target, r[level].scale))


def hinge(r: RingBuilder, logits: int, target: int, margin: float, width: float) -> int:
    """Σ over wrong labels of max(0, margin + l_j - l_y) (Black-Box Tuning's): the right label adds exactly the margin,
    which the fit's constant takes away. Differences of logits within ±`width`; worst error 2e-2, at the bends."""
    count = r[logits].shape[-1]
    difference = r.sub(logits, target)
    theta, period = r.phase(r.raise_scale(difference, SCALE), 4 * (width + margin))
    linear = r.shift(r.raise_scale(difference, SCALE - 1), -1)
    return r.sum(r.add(linear, r.fourier(theta, hinge_bend(width, period, margin=margin, less=margin / count))))


def clipped(r: RingBuilder, loss: int, at: float, most: float) -> int:
    """min(loss, at) at scale `LOGIT`, by one opening; `most`: the largest loss of values inside their intervals.

    A series is bounded everywhere. So whatever an example is, and however wrong its values are, its loss comes out
    within `clipped_losses`, [-at/16, at] and a little more.
    """
    theta, turn = r.phase(loss, period(at, most))
    return r.fourier(theta, clip(at, most, turn), LOGIT)


def clipped_losses(program: RingProgram) -> tuple[float, float]:
    """Between what the loss of every example lies, of a scheduled program that clips them: each is the result of one
    series, multiplied by its weight and added up."""
    total = program[program.opened("loss")]
    loss = program[program[total.inputs[0]].inputs[0]]
    assert (total.kind, loss.kind) == ("reduce_examples", "fourier")
    fit: Fit = program.fits[loss.attrs["fit"]]
    return fit.span(loss.scale)
