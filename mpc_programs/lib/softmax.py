"""Softmax attention without a maximum: per head Σ_j w_ij v_j / Σ_j m_j w_ij with w_ij = e^(min(s_ij - c_i, plateau)).

s_ij = q_i·k_j/√D, m the mask. c_i, linear in the row, estimates its log-sum-exp log Σ_j e^(s_ij): the model owner has
fitted it to public text. What it errs by cancels in the quotient. The plateau keeps sums of rows in bounds whose c_i
is far too low.

Query weights come divided by √D.
"""

import math

from Compiler.types import program, regint, sfix, sint

from lib import masked_opening
from lib.activations import clamp
from lib.attention import block_product, quotient, with_mask
from lib.linear import before_truncation, dense
from lib.normalization import inverse_sqrt
from lib.polynomial import chebyshev, fit, normalised
from lib.tensor import elementwise, gather, rescale, store, view
from lib.wire import TURN_BITS

ROOT_BITS = 28
"""Scale of √w by a series: below 8, its square stays below 2^62."""
LOWEST = -12
"""Where a weight is below half a unit."""


def attend(reads, x, mask, w, *, heads, **weighing):
    """What the rows `reads` find in the rows x; padding rows (mask 0) give neither values nor weight.

    Shapes: reads `[B, R, h]`, x `[B, T, h]`, mask `[B, T]`, weights q, k, v `[h, H·D]`, log_sum `[h, H]` ->
    `[B, R, H·D]`. Scale: f.
    Interval: that of `weights`, which takes `weighing`; sums of a row's weights from 2^-10 to 2^14, times |v| < 2^14.
    Error: 5e-3 relative to max |v|, where a row's sum is above 0.05; 2e-4 without masked openings.
    Rounds: 90; 114 without masked openings. Opens: as `weights`.
    """
    batch, tokens, width = x.shape
    size, rows = width // heads, reads.total_size() // width // batch
    query, key, values = (
        dense(y, w[f"{part}.weight"], w[f"{part}.bias"]) for part, y in (("q", reads), ("k", x), ("v", x))
    )
    centre = before_truncation(reads, sfix.f, w["log_sum.weight"], w["log_sum.bias"])
    centred = scores(query, key, heads) - per_score(store(centre, batch * rows, heads), batch, tokens)
    each = view(weights(centred, **weighing), batch, heads, rows, tokens)
    masked = view(with_mask(values, mask, heads), batch * tokens, heads * (size + 1))
    sums = [
        block_product(
            each[example][head], regint.inc(rows, 0, tokens), regint.inc(tokens),
            masked, regint.inc(tokens, example * tokens), regint.inc(size + 1, head * (size + 1)),
        )
        for example in range(batch) for head in range(heads)
    ]  # fmt: skip
    found = store(rescale(sint.concat(sums), 2 * sfix.f), batch * heads * rows, size + 1)
    return quotient(found, inverse, batch, heads)


def scores(query, key, heads):
    """q_i·k_j of every example and head.

    Shapes: `[B, R, H·D]`, `[B, T, H·D]` -> sint vector `[B, H, R, T]`. Scale: f -> 2f.
    Interval: all, modulo the ring.
    Error: that of query and key.
    Rounds: 1. Opens: nothing.
    """
    batch, rows, width = query.shape
    tokens, size = key.shape[1], width // heads
    flat = view(key, key.total_size(), 1)
    products = [
        block_product(
            query, regint.inc(rows, example * rows * width, width), regint.inc(size, head * size),
            flat, regint.inc(size, head * size), regint.inc(tokens, example * tokens * width, width),
        )
        for example in range(batch) for head in range(heads)
    ]  # fmt: skip
    return sint.concat(products)


def per_score(x, batch, tokens):
    """Vector `[B, H, R, T]` from x `[B·R, H]`: the same for all T."""
    total, heads = x.shape
    rows = total // batch
    n = total * heads * tokens
    return gather(
        x,
        regint.inc(n, 0, rows * heads, heads * rows * tokens, batch)
        + regint.inc(n, 0, 1, rows * tokens, heads)
        + regint.inc(n, 0, heads, tokens, rows),
    )


def weights(centred, **weighing):
    """e^(min(s, plateau)): `squared_root` where openings are masked, `bounded_exponential` elsewhere.

    Shapes: sint vector of n -> sint container `[n]`. Scale: 2f -> f.
    Interval: theirs; so are the keywords.
    Error: theirs.
    Rounds: theirs, again for every further `masked_opening.PIECE` of scores. Opens: what they open.
    """
    kernel = squared_root if program.masked_openings else bounded_exponential
    return elementwise(lambda s: kernel(s, **weighing).v, centred, masked_opening.PIECE)


def squared_root(centred, *, period, mean, amplitudes):
    """G(s)², G a Fourier series that the generator has fitted to e^(s/2) up to a plateau (`codegen/series/softmax.py`).

    Shapes: sint vector -> sfix vector. Scale: 2f -> f.
    Interval: what G was fitted on, a little less than `period`; s is taken modulo that.
    Error: 8e-4 G, 2 units, and the fit's: twice 1 % as a rule.
    Rounds: 6, 96 bytes a score and 32 a pair of amplitudes. Opens: as `masked_opening.own_number`.
    """
    phase = centred * round(2 ** (TURN_BITS - 2 * sfix.f) / period)
    root = masked_opening.series(phase, amplitudes, ROOT_BITS) + round(mean * 2**ROOT_BITS)
    return rescale(root * root, 2 * ROOT_BITS)


def bounded_exponential(centred, *, plateau):
    """e^s for s held in [LOWEST, plateau]: a comparison at both ends, a Chebyshev series of e^(s/4), two squares.

    Shapes: sint vector -> sfix vector. Scale: 2f -> f.
    Interval: |s| < 2^(k-f-2).
    Error: 3e-4 relative, and 3 units.
    Rounds: 31, 606 bytes a score. Opens: nothing.
    """
    s = clamp(rescale(centred, 2 * sfix.f), LOWEST, plateau)
    (root,) = chebyshev(normalised(s, LOWEST, plateau), fit(lambda v: math.exp(v / 4), LOWEST, plateau, 8))
    square = root * root
    return square * square


def inverse(x):
    """1/x as (x^(-1/2))², which needs no bounds known ahead.

    Shapes: vector -> vector. Scale: f.
    Interval: that of `inverse_sqrt`.
    Error: 2e-4 relative and 6 units times x^(-1/2), on [0.05, 200].
    Rounds: 65, 1,285 bytes a value. Opens: nothing.
    """
    root = inverse_sqrt(x)
    return root * root
