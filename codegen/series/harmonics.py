"""Least squares by a few harmonics of a period.

A program's text, and so its hash, follows from these numbers: they are computed without BLAS, whose last bits depend on
the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


def fit_harmonics(
    theta: Floats, y: Floats, w: Floats, harmonics: Sequence[int], ridge: float, *, cosines: bool, sines: bool
) -> Complexes:
    """Amplitudes a_0 (real), a_1, … that minimise Σ w²·(y - series(θ, a))² + ridge·Σ_{k>0} |a_k|².

    `theta` in turns, `y` and weights `w` of one length. a_k is zero but for k = 0 and the `harmonics`, which get a
    real part (`cosines`), an imaginary part (`sines`) or both.
    """
    m = np.array(harmonics)
    moments = np.array([np.sum(w * w * z) for z in _turning(theta, 2 * int(m.max()))])
    targets = np.array([np.sum(w * w * y * z) for z in _turning(theta, int(m.max()))])
    # cos·cos, sin·sin and cos·sin of two harmonics by those of their sum and difference
    plus, difference = moments[m[:, None] + m], m[:, None] - m
    minus = moments[np.abs(difference)]
    cos_cos, sin_sin = (plus.real + minus.real) / 2, (minus.real - plus.real) / 2
    cos_sin = (plus.imag - np.sign(difference) * minus.imag) / 2
    one, first = moments[:1].real[:, None], moments[m][None]
    gram = np.block(
        [[one, first.real, first.imag], [first.real.T, cos_cos, cos_sin], [first.imag.T, cos_sin.T, sin_sin]]
    )
    gram[np.diag_indices_from(gram)] += np.repeat([0.0, ridge], [1, 2 * m.size])
    right = np.concatenate([targets[:1].real, targets[m].real, targets[m].imag])
    wanted = np.repeat([True, cosines, sines], [1, m.size, m.size])
    solution = np.zeros(right.size)
    solution[wanted] = _solve_definite(gram[np.ix_(wanted, wanted)], right[wanted])
    amplitudes = np.zeros(int(m.max()) + 1, np.complex128)
    amplitudes[0] = solution[0]
    amplitudes[m] = solution[1 : m.size + 1] - 1j * solution[m.size + 1 :]
    return amplitudes


def series(theta: Floats, amplitudes: Complexes) -> Floats:
    """Re Σ_k a_k e^(2πi·k·θ), for `theta` of any shape."""
    total = np.zeros(theta.shape)
    for a, z in zip(amplitudes, _turning(theta, amplitudes.size - 1), strict=True):
        total += a.real * z.real - a.imag * z.imag
    return total


def _turning(theta: Floats, top: int) -> Iterator[Complexes]:
    """e^(2πi·k·θ) for k = 0, …, top; off by k units of the last place."""
    z, step = np.ones(theta.shape, np.complex128), np.exp(2j * np.pi * theta)
    for _ in range(top + 1):
        yield z
        z = z * step


def _solve_definite(a: Floats, b: Floats) -> Floats:
    """x with a x = b for a symmetric positive definite a `[n, n]`, by Cholesky's a = l lᵀ."""
    lower, x = np.zeros_like(a), b.copy()
    for j in range(b.size):
        column = a[j:, j] - np.einsum("ij,j->i", lower[j:, :j], lower[j, :j])
        lower[j:, j] = column / np.sqrt(column[0])
        x[j] = (x[j] - np.sum(lower[j, :j] * x[:j])) / lower[j, j]
    for j in reversed(range(b.size)):
        x[j] = (x[j] - np.sum(lower[j + 1 :, j] * x[j + 1 :])) / lower[j, j]
    return x
