"""Heads in the ring: dense layers and the cosine with prototypes, of one row `[1, h]`."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..plan.graph import Value
from ..ring.builder import RingBuilder
from ..ring.values import Floats, WideWeights
from ..series.nonlinear import inverse_root, precise_even_part, tanh

ROW = 16
Norm = tuple[str, str]
"""Names of gamma and beta."""


def dense(r: RingBuilder, v: Value, x: int, norm: Norm | None, width: float) -> int:
    """act(W x + b) at scale 16; `norm`: of the layer norm whose affine part x still lacks. `width`: largest |W x + b|.

    Without activation the result is a vector, logits; else it is a row.
    """
    kernel, bias = v.weights["weight"], v.weights["bias"]
    out, act = v.shape[-1], v.attrs["act"]

    def matrix(w: WideWeights) -> Floats:
        return np.asarray((w[kernel] * w[norm[0]] if norm else w[kernel]).T)

    def offset(w: WideWeights) -> Floats:
        return np.asarray(w[bias] + w[kernel] @ w[norm[1]] if norm else w[bias])

    def product(name: str, scale: int, factor: float) -> int:
        m = r.weight(f"{kernel}{name}", (r[x].shape[-1], out), scale, lambda w: factor * matrix(w))
        b = r.weight(f"{bias}{name}", (out,), scale + ROW, lambda w: factor * offset(w))
        return r.add(r.matmul(x, m), b)

    if act == "none":
        return r.reshape(r.trunc(product("", 24, 1.0), ROW), (out,))
    phase = product(".phase", 48, 1 / (4 * width))
    if act == "tanh":
        return r.declare(r.trunc(r.fourier(phase, tanh(width)), ROW), bound=1.01)
    bent = r.fourier(phase, precise_even_part(act, width))
    linear = product("", 24, 0.5)
    return r.trunc(r.add(linear, r.raise_scale(bent, r[linear].scale)), ROW)


def cosine(r: RingBuilder, v: Value, x: int, norm: Norm, low: float, high: float) -> int:
    """temperature · P y/‖y‖ at scale 16 for y = gamma∘x + beta with ‖y‖² in [low, high] and unit rows P."""
    gamma, beta = norm
    hidden, labels = r[x].shape[-1], v.shape[0]
    name, temperature = v.weights["prototypes"], v.attrs["temperature"]
    g = r.weight(gamma, (hidden,), 24, lambda w: w[gamma])
    b = r.weight(beta, (hidden,), 24 + ROW, lambda w: w[beta])
    row = r.trunc(r.add(r.mul(x, g), b), ROW)
    prototypes = r.weight(name, (hidden, labels), 16, lambda w: temperature * w[name].T)
    # |scores| <= temperature · ‖row‖
    scores = r.trunc(r.matmul(row, prototypes, bound=4 * temperature * sqrt(high)), ROW)
    square = r.sum(r.mul(row, row), -1)
    theta, period = r.phase(square, 1.2 * (high - low))
    inverse = r.fourier(theta, inverse_root(low, high, period, target=3e-4))
    logits = r.trunc(r.mul(scores, inverse, bound=1.1 * temperature), ROW)
    return r.reshape(logits, (labels,))
