"""Heads in the ring: dense layers and the cosine with prototypes, of one row `[1, h]`; prototypes made with shots."""

from __future__ import annotations

from math import ceil, log2, sqrt
from typing import NamedTuple

import numpy as np

from ..plan.graph import Value
from ..ring.builder import RingBuilder
from ..ring.values import Floats, WideWeights
from ..series.nonlinear import SLACK, inverse_root, precise_even_part, tanh
from .health import Watch
from .layer_norm import Norm, inverse_scale
from .scales import EMBEDDING, LOGIT, ROW, TURN, WEIGHT

LOGIT_ROOM = 1.1
"""How much larger than the temperature a cosine head's logit may come out: its fit and roundings err by far less."""
PRECISE_INVERSE = 16
"""Bits of 1/‖y‖ at least: the temperature multiplies what it errs by, 20 by default."""
COSINE_ERROR = 3e-4
"""Relative, of 1/‖y‖: the temperature multiplies it, 20 by default."""
LEAST_PROTOTYPE = 0.75
"""Least ‖t + λm‖² that a prototype's fit covers. A label's text t, of unit length, and its shots' mean m come below
only where the angle between them is above 120°, whatever λ ≥ 0 is."""


def dense(r: RingBuilder, v: Value, x: int, norm: Norm | None, width: float) -> int:
    """act(W x + b); `norm`: of the layer norm whose affine part x still lacks. `width`: largest |W x + b|.

    Without activation the result is logits, as `v` has them, at scale `LOGIT`; else it is a row, at `ROW`.
    """
    weight, bias = v.weights["weight"], v.weights["bias"]
    out, act = v.shape[-1], v.attrs["act"]

    def matrix(w: WideWeights) -> Floats:
        return norm.matrix(w, weight) if norm else np.asarray(w[weight].T)

    def offset(w: WideWeights) -> Floats:
        return norm.offset(w, weight, bias) if norm else np.asarray(w[bias])

    def product(name: str, scale: int, factor: float) -> int:
        m = r.matrix(f"{weight}{name}", (r[x].shape[-1], out), scale, lambda w: factor * matrix(w))
        b = r.weight(f"{bias}{name}", (out,), scale + ROW, lambda w: factor * offset(w))
        return r.add(r.product(x, m), b)

    if act == "none":
        return r.reshape(r.trunc(product("", WEIGHT, 1.0), LOGIT), v.shape)
    phase = r.turns(product(".phase", TURN, 1 / (4 * width)))
    if act == "tanh":
        return r.declare(r.trunc(r.fourier(phase, tanh(width)), ROW), bound=1.01)
    linear = product("", WEIGHT, 0.5)
    return r.trunc(r.add(linear, r.fourier(phase, precise_even_part(act, width), r[linear].scale)), ROW)


def opened_row(r: RingBuilder, v: Value, x: int) -> int:
    """γ∘x̂ + β at scale `LOGIT`: what the output layer is given."""
    gamma, beta = v.weights["gamma"], v.weights["beta"]
    size = (v.shape[-1],)
    g = r.weight(gamma, size, WEIGHT, lambda w: np.asarray(w[gamma]))
    b = r.weight(beta, size, WEIGHT + ROW, lambda w: np.asarray(w[beta]))
    return r.reshape(r.trunc(r.add(r.mul(x, g), b), LOGIT), v.shape)


class Direction(NamedTuple):
    """A row y and 1/‖y‖; None: y is normalised, so that ‖y‖ is √h."""

    row: int
    inverse: int | None


def cosine(
    r: RingBuilder, v: Value, x: int, norm: Norm, low: float, high: float, given: int | None = None, *,
    watch: Watch | None = None,
) -> tuple[int, Direction]:  # fmt: skip
    """temperature · P y/‖y‖ at scale `LOGIT` for y = gamma∘x + beta with ‖y‖² in [low, high] and unit rows P; and y
    with its inverse length. `given`: temperature · P `[L, h]`, where steps make it (`prototypes`)."""
    hidden, labels = r[x].shape[-1], v.shape[0]
    temperature = v.attrs["temperature"]
    g = r.weight(norm.gamma, (hidden,), WEIGHT, lambda w: w[norm.gamma])
    b = r.weight(norm.beta, (hidden,), WEIGHT + ROW, lambda w: w[norm.beta])
    row = r.trunc(r.add(r.mul(x, g), b), ROW)
    if given is None:
        name = v.weights["prototypes"]
        columns = r.weight(name, (hidden, labels), WEIGHT, lambda w: temperature * w[name].T)
    else:
        columns = r.permute(given, (1, 0))
    # |scores| <= temperature · ‖row‖, and ‖row‖ <= √high but for the caller's risk
    scores = r.trunc(r.matmul(row, columns, bound=4 * temperature * sqrt(high)), ROW)
    square = r.sum(r.mul(row, row), -1)
    theta, period = r.phase(square, SLACK * (high - low))
    fit = inverse_root(low, high, period, target=COSINE_ERROR)
    inverse = r.fourier(theta, fit, inverse_scale(fit, high, PRECISE_INVERSE))
    if watch:
        watch.norm(square, inverse, 1, fit, 0.0)
    logits = r.trunc(r.mul(scores, inverse, bound=LOGIT_ROOM * temperature), LOGIT)
    return r.reshape(logits, (labels,)), Direction(row, inverse)


def prototypes(r: RingBuilder, v: Value, weight: int, means: int) -> int:
    """temperature · (t + λm)/‖t + λm‖ at scale `WEIGHT`, `[L, h]`, for labels' texts t, of unit length, their shots'
    means m, ‖m‖ <= 1, and one λ `[1]` from 0 to `most`. Relative error 3e-4.

    λ passes a truncation first: so it is small where it meets m, whatever the data owner has shared.
    """
    name, temperature, most = v.weights["prototypes"], v.attrs["temperature"], v.attrs["most"]
    low, high = LEAST_PROTOTYPE, (1 + most) ** 2
    weight = r.trunc(weight, ROW)
    texts = r.weight(name, v.shape, ROW + EMBEDDING, lambda w: w[name])
    sums = r.trunc(r.add(r.mul(means, weight), texts), EMBEDDING)
    r.declare(sums, bound=1 + most, norm=1 + most)
    square = r.declare(r.sum(r.mul(sums, sums), -1), bound=high)
    theta, period = r.phase(square, SLACK * (high - low))
    fit = inverse_root(low, high, period, divisor=temperature**2, target=COSINE_ERROR)
    inverse = r.fourier(theta, fit, inverse_scale(fit, high / temperature**2, PRECISE_INVERSE))
    longest = LOGIT_ROOM * temperature
    return r.declare(r.trunc(r.mul(sums, inverse, bound=longest), WEIGHT), norm=longest)


def _constant(r: RingBuilder, factor: float) -> int:
    """A positive number `[1]` that everybody knows, with 15 bits."""
    return r.table(f"constant.{factor:g}", np.array([factor]), 15 - ceil(log2(factor)))


def label_words(r: RingBuilder, v: Value, x: int, norm: Norm, shots: int, means: int) -> int:
    """Logits at scale `LOGIT` of a normalised row x `[1, h]`, with shots (docs/program.md, "Shots"):

        x·A + o - κ (x̄·A + o),    A = words + λ temperature/√h · (m - m̄),    x̄ = √h m̄

    for the words' logits x·words + o, their shots' means m `[L, h]`, ‖m‖ <= 1, the mean m̄ of these, and a candidate's
    `shots`, λ from 0 to `most` and κ, 0 or 1. Worst error: what A's scale rounds, √h/2^17.

    λ and κ pass truncations first: so they are small where they meet m, whatever the data owner has shared. A value of
    m alone would be made once, before there are shots: λ or κ is part of every product.
    """
    weight, bias = v.weights["weight"], v.weights["bias"]
    (labels,), hidden = v.shape, r[x].shape[-1]
    length = sqrt(hidden)
    most = v.attrs["most"]

    def part(i: int, factor: float, bound: float) -> int:
        """The i-th of the shots' numbers, times a constant."""
        number = r.declare(r.slice(shots, -1, i, i + 1), bound=bound)
        return r.trunc(r.mul(number, _constant(r, factor)), WEIGHT)

    steep = v.attrs["temperature"] / length
    added = r.trunc(r.mul(means, part(0, steep, most)), WEIGHT)
    mean = r.trunc(r.mul(r.sum(added, -2), _constant(r, 1 / labels)), WEIGHT)
    added = r.declare(r.sub(added, mean), norm=2 * LOGIT_ROOM * steep * most)
    words = r.weight(weight, (hidden, labels), WEIGHT, lambda w: norm.matrix(w, weight))
    both = r.add(words, r.permute(added, (1, 0)))
    own = r.weight(bias, (labels,), WEIGHT, lambda w: norm.offset(w, weight, bias))
    centred = r.trunc(r.declare(r.slice(shots, -1, 1, 2), bound=1.0), ROW)
    middle = r.trunc(r.sum(r.mul(means, part(1, length / labels, 1.0)), -2), ROW)
    r.declare(middle, norm=LOGIT_ROOM * length)
    taken = r.add(r.mul(own, centred), r.reshape(r.matmul(middle, both), (labels,)))
    offset = r.sub(r.raise_scale(own, ROW + WEIGHT), taken)
    return r.reshape(r.trunc(r.add(r.matmul(x, both), offset), LOGIT), v.shape)


def class_means(r: RingBuilder, v: Value, row: Direction, labels: int, share: int, numbers: int) -> int:
    """w · Σ over examples of share · label · y/‖y‖ at scale `EMBEDDING`, `[L, h]`: so much of each label's mean
    embedding, where shares of a label's examples add up to one; w, from 0 to 1, is the first of a candidate's
    `shots`, and passes a truncation before it meets them."""
    count, hidden = v.shape
    weights = r.trunc(r.mul(labels, share), EMBEDDING)
    part = r.slice(numbers, -1, 0, 1)
    if row.inverse is None:
        shrink = _constant(r, 1 / sqrt(hidden))
        unit, factor = row.row, r.trunc(r.mul(part, shrink), r[shrink].scale)
    else:
        unit, factor = r.trunc(r.mul(row.row, row.inverse, bound=LOGIT_ROOM), EMBEDDING), r.trunc(part, ROW)
        r.declare(unit, norm=LOGIT_ROOM)
    parts = r.mul(r.reshape(weights, (count, 1)), r.reshape(unit, (1, hidden)))
    mean = r.trunc(r.reduce_examples(parts), EMBEDDING)
    return r.trunc(r.mul(mean, factor, bound=LOGIT_ROOM), EMBEDDING)
