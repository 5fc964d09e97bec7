"""Layer norm and unit length over the last axis, all rows at once."""

from Compiler import mpc_math
from Compiler.types import sfix

from lib.tensor import across_columns, across_rows, as_matrix, raw_product, rescale, row_sums, spread, store

NEWTON_STEPS = 2


def normalize(x, eps):
    """(x - mean)/sqrt(variance + eps) along the last axis: layer norm without its affine part.

    Shapes: `[..., h]` -> the same. Scale: f.
    Interval: |x - mean|² summed over h below 2^(62-2f), variance from 2^-10 to 2^(k-f-1). eps joins the sum of
    squares at scale 2f, so it counts down to 2^-2f / h; a constant row gives 0.
    Error: 6e-4 for variances in [0.05, 200], in rows of up to 16 columns; it grows with the largest |result|.
    Rounds: 72. Opens: nothing.
    """
    columns = x.shape[-1]
    values = x.get_vector()
    mean = rescale(row_sums(values, columns).v, sfix.f, 1 / columns)
    centred = values - across_columns(mean, columns)
    squares = row_sums(raw_product(centred, centred), columns) + round(eps * columns * 2 ** (2 * sfix.f))
    variance = rescale(rescale(squares, 2 * sfix.f).v, sfix.f, 1 / columns)
    return store(centred * across_columns(inverse_sqrt(variance), columns), *x.shape)


def stream_numbers(exponents, eps):
    """What `stream_norm` takes for rows of about 4^e mean square each, for every e of `exponents`: lists of three
    integers, and the largest exponent."""
    top = max(exponents)
    return [[4 ** (top - e), round(eps * 4.0**-e * 2**sfix.f), 2 ** (top - e)] for e in exponents], top


def stream_norm(x, numbers, top, *, norm, kept=None):
    """x/√(mean square + eps) along the last axis, less the mean before where `norm` is "layer": the norm of rows of a
    residual stream, whose lengths differ from layer to layer. Rows that `kept`, a vector of zeros and ones, leaves out
    are 0.

    Shapes: `[..., h]`, `stream_numbers`' three (`tensor.spread`) -> the same. Scale: f.
    Interval: mean squares from 2^-10 to 2^10 times 4^e; their sum times 4^(top - e) below 2^(62-2f).
    Error: as `normalize`.
    Rounds: 72; 75 with `kept`. Opens: nothing.
    """
    up, eps, down = numbers
    columns = x.shape[-1]
    values = x.get_vector()
    if norm == "layer":
        mean = rescale(row_sums(values, columns).v, sfix.f, 1 / columns)
        values = values - across_columns(mean, columns)
    below = 2 ** (columns.bit_length() - 1)
    squares = row_sums(raw_product(values, values), columns)
    squares = squares * spread(up, squares.size)
    mean = rescale(rescale(squares, 2 * sfix.f, 4.0**-top / below).v, sfix.f, below / columns)
    root = inverse_sqrt(sfix._new(mean.v + spread(eps, squares.size)))
    if kept is not None:
        root = root * kept
    raw = raw_product(values, across_columns(root, columns))
    return store(rescale(raw * spread(down, raw.size), 2 * sfix.f, 2.0**-top), *x.shape)


def unit_rows(x):
    """x/‖x‖ along the last axis.

    Shapes: `[..., h]` -> the same. Scale: f.
    Interval: ‖x‖² from 2^-10 to 2^(k-f-1); a zero row gives 0.
    Error: 3e-4 for ‖x‖² in [0.05, 200].
    Rounds: 68. Opens: nothing.
    """
    columns = x.shape[-1]
    values = x.get_vector()
    length2 = rescale(row_sums(raw_product(values, values), columns), 2 * sfix.f)
    return store(values * across_columns(inverse_sqrt(length2), columns), *x.shape)


def affine(x, gamma, beta):
    """gamma ∘ x + beta, the same gamma and beta `[h]` for every row.

    Shapes: `[..., h]` -> the same. Scale: f.
    Interval: |gamma * x| < 2^(k-f-1).
    Error: 1 unit.
    Rounds: 3. Opens: nothing.
    """
    rows = as_matrix(x).shape[0]
    return store(x.get_vector() * across_rows(gamma, rows) + across_rows(beta, rows), *x.shape)


def inverse_sqrt(x):
    """x^(-1/2): MP-SPDZ's table and quadratic (Lu et al. 2020, 1 % off), then two Newton steps y(3 - xy²)/2.

    Shapes: vector -> vector. Scale: f.
    Interval: x from 2^-10 to 2^(k-f-1).
    Error: 3 units + 1e-4 relative on [0.05, 200].
    Rounds: 62, 1,230 bytes a value. Opens: nothing.
    """
    y = mpc_math.InvertSqrt(x)
    for _ in range(NEWTON_STEPS):
        y = rescale((y * (3 - (x * y) * y)).v, sfix.f, 0.5)
    return y
