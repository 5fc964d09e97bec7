"""Elementwise functions in numpy, exact to a few units of float64's last place."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]
"""An elementwise function of arrays."""

_STEPS = 512  # grid points per unit
_REACH = 6.0  # 1 − Φ(6·√2) is below float64's resolution


@functools.cache
def _erf_table() -> tuple[Floats, Floats]:
    grid = np.arange(-int(_REACH * _STEPS), int(_REACH * _STEPS) + 1) / _STEPS
    return np.array([math.erf(x) for x in grid]), 2 / math.sqrt(math.pi) * np.exp(-grid * grid)


def erf(x: Floats) -> Floats:
    """Error function; worst absolute error 1e-14, by a Taylor step of order 4 from the nearest of 6145 grid points."""
    value, slope = _erf_table()
    x = np.clip(x, -_REACH, _REACH)
    index = np.rint(x * _STEPS).astype(np.intp)
    x0 = index / _STEPS
    index += int(_REACH * _STEPS)
    d = x - x0
    # erf'' = −2x·erf', erf''' = (4x²−2)·erf', erf'''' = (12x−8x³)·erf'
    square = x0 * x0
    series = d * (x0 * (1 - square * 2 / 3) / 2)
    series += (square * 2 - 1) / 3
    series *= d
    series -= x0
    series *= d
    series += 1
    series *= d
    series *= slope[index]
    series += value[index]
    return series.astype(x.dtype, copy=False)


def gelu(x: Floats) -> Floats:
    """x·Φ(x), the exact form (not the tanh approximation), in blocks that stay in cache."""
    flat = np.ascontiguousarray(x).reshape(-1)
    result = np.empty_like(flat)
    for lo in range(0, flat.size, 1 << 14):
        part = flat[lo : lo + (1 << 14)]
        result[lo : lo + (1 << 14)] = part * (0.5 + 0.5 * erf(part * math.sqrt(0.5)))
    return result.reshape(x.shape)


def gelu_new(x: Floats) -> Floats:
    """GELU by tanh (GPT-2): x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def silu(x: Floats) -> Floats:
    """x/(1 + e^(−x))."""
    return np.asarray(0.5 * x * (1 + np.tanh(0.5 * x)))


def relu(x: Floats) -> Floats:
    """max(0, x)."""
    return np.maximum(x, 0)


def log_sum_exp(x: Floats) -> Floats:
    """log Σ eˣ over the last axis, which stays with length 1."""
    top = x.max(axis=-1, keepdims=True)
    result: Floats = top + np.log(np.exp(x - top).sum(axis=-1, keepdims=True))
    return result


def identity(x: Floats) -> Floats:
    """X itself."""
    return x


def tanh(x: Floats) -> Floats:
    """Hyperbolic tangent."""
    return np.tanh(x)
