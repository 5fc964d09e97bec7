"""Chebyshev series: fitted when the program is compiled, evaluated in logarithmically many rounds."""

import math

from Compiler.types import sfix, sint

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
    """Σ c_k T_k(t) for every series of coefficients, with about 2√degree products in place of degree.

    Baby steps and giant steps (Paterson and Stockmeyer 1973) in the Chebyshev basis: Σ_j T_j(T_m(t)) Σ_(i<m) a_ji
    T_i(t). The inner sums are exact, so one truncation serves the whole series.

    Shapes: vector of n -> list of vectors of n. Scale: f -> f.
    Interval: t in [-1, 1], a few units outside do no harm; Σ|a| < 2^(61-3f).
    Error: the fit's plus about Σ|c_k| k / 4 units.
    Rounds: at most 3⌈log2 m⌉ + 3⌈log2(degree/m)⌉ + 3, m = round(√(degree + 1)). Opens: nothing.
    """
    degree = max(len(c) for c in series) - 1
    step = round(math.sqrt(degree + 1))
    small = basis(t, step)
    large = basis(small[step], degree // step)
    totals = []
    for coefficients in series:
        rows = split(coefficients, step)
        totals.append(sum(_term(row, small, power) for row, power in zip(rows, large, strict=False)))
    n = t.size
    results = rescale(sint.concat(totals), 3 * sfix.f)
    return [results.get_vector(i * n, n) for i in range(len(totals))]


def basis(t, degree):
    """[1, T_1(t), …, T_degree(t)] by T_(m+j) = 2 T_m T_j - T_(m-j).

    Shapes: vector -> list of vectors. Scale: f.
    Interval: t in [-1, 1].
    Error: degree² / 4 units.
    Rounds: 3⌈log2 degree⌉. Opens: nothing.
    """
    n = t.size
    result = [1, t]
    while len(result) <= degree:
        m = len(result) - 1
        count = min(m, degree - m)
        products = sfix.concat([result[m]] * count) * sfix.concat(result[1 : count + 1])
        for j in range(1, count + 1):
            product = products.get_vector((j - 1) * n, n)
            result.append(product + product - result[m - j])
    return result


def split(coefficients, step):
    """Rows a_j of the same polynomial in the basis T_i T_(j·step), i < step: T_(a+i) = 2 T_a T_i - T_(a-i)."""
    rest = list(coefficients)
    rows = [[0.0] * step for _ in range((len(rest) - 1) // step + 1)]
    for k in range(len(rest) - 1, -1, -1):
        j, i = divmod(k, step)
        rows[j][i] += rest[k] * (2 if j and i else 1)
        if j and i:
            rest[j * step - i] -= rest[k]
    return rows


def _term(row, small, power):
    """power * Σ a_i T_i, raw at scale 3f."""
    constant = round(row[0] * 2 ** (2 * sfix.f))
    inner = sum((small[i].v * round(a * 2**sfix.f) for i, a in enumerate(row) if i), start=constant)
    return inner * (power.v if isinstance(power, sfix) else 2**sfix.f)
