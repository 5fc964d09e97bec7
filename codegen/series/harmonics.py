"""Least squares by a few harmonics of a period.

A program's text, and so its hash, follows from these numbers: they are computed without BLAS, whose last bits depend on
the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .elementary import Floats

Complexes = NDArray[np.complex128]


def fit_harmonics(
    theta: Floats, y: Floats, w: Floats, harmonics: Sequence[int], ridge: float, *, cosines: bool, sines: bool
) -> Complexes:
    """Amplitudes a_0 (real), a_1, … that minimise Σ w²·(y - series(θ, a))² + ridge·Σ_{k>0} |a_k|².

    `theta` in turns, `y` and weights `w` of one length. a_k is zero but for k = 0 and the `harmonics`, which get a
    real part (`cosines`), an imaginary part (`sines`) or both.

    The basis is 1, cos mθ, sin mθ for every harmonic m. The sums over all points of products of two of them follow
    from the moments M[k] = Σ w² e^(ikθ), M[-k] being the conjugate of M[k]:

        cos a cos b = (cos(a-b) + cos(a+b)) / 2,  so  Σ w² cos mθ cos nθ = Re(M[m-n] + M[m+n]) / 2
        sin a sin b = (cos(a-b) - cos(a+b)) / 2,  so  Σ w² sin mθ sin nθ = Re(M[m-n] - M[m+n]) / 2
        cos a sin b = (sin(a+b) - sin(a-b)) / 2,  so  Σ w² cos mθ sin nθ = Im(M[m+n] - M[m-n]) / 2
    """
    m = np.array(harmonics)
    highest = int(m.max())
    moments = np.array([np.sum(w * w * z) for z in _turning(theta, 2 * highest)])
    with_y = np.array([np.sum(w * w * y * z) for z in _turning(theta, highest)])

    # rows are m, columns n
    gap = m[:, None] - m
    at_sum = moments[m[:, None] + m]
    at_gap = np.where(gap < 0, moments[np.abs(gap)].conj(), moments[np.abs(gap)])
    cos_cos = (at_gap.real + at_sum.real) / 2
    sin_sin = (at_gap.real - at_sum.real) / 2
    cos_sin = (at_sum.imag - at_gap.imag) / 2
    ones, cos, sin = moments[:1].real[None], moments[m].real[None], moments[m].imag[None]
    gram = np.block([[ones, cos, sin], [cos.T, cos_cos, cos_sin], [sin.T, cos_sin.T, sin_sin]])

    # normal equations (gram + ridge) · unknowns = projection, of those basis functions that are asked for
    gram[np.diag_indices_from(gram)] += np.repeat([0.0, ridge], [1, 2 * m.size])
    projection = np.concatenate([with_y[:1].real, with_y[m].real, with_y[m].imag])
    used = np.repeat([True, cosines, sines], [1, m.size, m.size])
    unknowns = np.zeros(used.size)
    unknowns[used] = _solve_definite(gram[np.ix_(used, used)], projection[used])

    # u cos mθ + v sin mθ = Re (u - iv) e^(imθ)
    constant, of_cos, of_sin = np.split(unknowns, [1, 1 + m.size])
    amplitudes = np.zeros(highest + 1, np.complex128)
    amplitudes[:1] = constant
    amplitudes[m] = of_cos - 1j * of_sin
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
