"""Heads in the ring: dense layers and the cosine with prototypes, of one row `[1, h]`."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..plan.graph import Value
from ..ring.builder import RingBuilder
from ..ring.values import Floats, WideWeights
from ..series.nonlinear import SLACK, inverse_root, precise_even_part, tanh
from .health import Watch
from .layer_norm import Norm, inverse_scale
from .scales import LOGIT, ROW, TURN, WEIGHT

LOGIT_ROOM = 1.1
"""How much larger than the temperature a cosine head's logit may come out: its fit and roundings err by far less."""
PRECISE_INVERSE = 16
"""Bits of 1/‖y‖ at least: the temperature multiplies what it errs by, 20 by default."""
COSINE_ERROR = 3e-4
"""Relative, of 1/‖y‖: the temperature multiplies it, 20 by default."""


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
        m = r.weight(f"{weight}{name}", (r[x].shape[-1], out), scale, lambda w: factor * matrix(w))
        b = r.weight(f"{bias}{name}", (out,), scale + ROW, lambda w: factor * offset(w))
        return r.add(r.matmul(x, m), b)

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


def cosine(r: RingBuilder, v: Value, x: int, norm: Norm, low: float, high: float, watch: Watch | None = None) -> int:
    """temperature · P y/‖y‖ at scale `LOGIT` for y = gamma∘x + beta with ‖y‖² in [low, high] and unit rows P."""
    hidden, labels = r[x].shape[-1], v.shape[0]
    name, temperature = v.weights["prototypes"], v.attrs["temperature"]
    g = r.weight(norm.gamma, (hidden,), WEIGHT, lambda w: w[norm.gamma])
    b = r.weight(norm.beta, (hidden,), WEIGHT + ROW, lambda w: w[norm.beta])
    row = r.trunc(r.add(r.mul(x, g), b), ROW)
    prototypes = r.weight(name, (hidden, labels), WEIGHT, lambda w: temperature * w[name].T)
    # |scores| <= temperature · ‖row‖, and ‖row‖ <= √high but for the caller's risk
    scores = r.trunc(r.matmul(row, prototypes, bound=4 * temperature * sqrt(high)), ROW)
    square = r.sum(r.mul(row, row), -1)
    theta, period = r.phase(square, SLACK * (high - low))
    fit = inverse_root(low, high, period, target=COSINE_ERROR)
    inverse = r.fourier(theta, fit, inverse_scale(fit, high, PRECISE_INVERSE))
    if watch:
        watch.norm(square, inverse, 1, fit, 0.0)
    logits = r.trunc(r.mul(scores, inverse, bound=LOGIT_ROOM * temperature), LOGIT)
    return r.reshape(logits, (labels,))
