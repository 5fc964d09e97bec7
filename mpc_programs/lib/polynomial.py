"""Chebyshev series: fitted when the program is compiled, evaluated in logarithmically many rounds."""

import math

from Compiler.types import sfix

from lib.tensor import rescale


def fit(function, low, high, degree):
    """Coefficients c of Σ c_k T_k(t), t = (2x - low - high)/(high - low), interpolating `function` at Chebyshev points.

    (Trefethen, Approximation Theory and Approximation Practice, ch. 3.) Exact for polynomials of this degree.
    """
    n = degree + 1
    angles = [math.pi * (j + 0.5) / n for j in range(n)]
    values = [function(low + (high - low) * (1 + math.cos(a)) / 2) for a in angles]
    sums = [2 / n * sum(v * math.cos(k * a) for v, a in zip(values, angles, strict=True)) for k in range(n)]
    return [sums[0] / 2, *sums[1:]]


def normalised(x, low, high):
    """x in [low, high] -> t in [-1, 1].

    Shapes: any sfix vector. Scale: f -> f.
    Interval: [low, high].
    Error: 2 units.
    Rounds: 2. Opens: nothing.
    """
    centre = round((low + high) / 2 * 2**sfix.f)
    return rescale(x.v - centre, sfix.f, 2 / (high - low))


def chebyshev(t, *series):
    """Σ c_k T_k(t) for every series of coefficients, by T_(m+j) = 2 T_m T_j - T_(m-j).

    Shapes: vector of n -> list of vectors of n. Scale: f -> f.
    Interval: t in [-1, 1] (a few units outside do no harm).
    Error: the fit's plus about Σ|c_k| * k / 4 units.
    Rounds: 3⌈log2 degree⌉ + 2. Opens: nothing.
    """
    n = t.size
    degree = max(len(c) for c in series) - 1
    basis = [sfix(1, size=n), t]
    while len(basis) <= degree:
        m = len(basis) - 1
        count = min(m, degree - m)
        products = sfix.concat([basis[m]] * count) * sfix.concat(basis[1 : count + 1])
        for j in range(1, count + 1):
            product = products.get_vector((j - 1) * n, n)
            basis.append(product + product - basis[m - j])
    totals = [
        sum(basis[k].v * round(c * 2**sfix.f) for k, c in enumerate(coefficients) if round(c * 2**sfix.f))
        for coefficients in series
    ]
    results = rescale(type(totals[0]).concat(totals), 2 * sfix.f)
    return [results.get_vector(i * n, n) for i in range(len(totals))]
