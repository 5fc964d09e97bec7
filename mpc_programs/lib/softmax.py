"""Softmax attention without a maximum: per head Σ_j w_ij v_j / Σ_j m_j w_ij with w_ij = e^(min(s_ij - c_i, plateau)).

s_ij = q_i·k_j/√D, m the mask. c_i, linear in the row, estimates its log-sum-exp log Σ_j e^(s_ij): the model owner has
fitted it to public text. What it errs by cancels in the quotient. The plateau keeps sums of rows in bounds whose c_i
is far too low.

Query weights come divided by √D.
"""

import math

from Compiler.library import break_point
from Compiler.types import program, regint, sfix, sint

from lib import masked_opening
from lib.activations import clamp
from lib.attention import block_product, quotient, with_mask
from lib.linear import before_truncation, dense
from lib.normalization import inverse_sqrt
from lib.polynomial import chebyshev, fit, normalised
from lib.tensor import elementwise, gather, rescale, scratch, spread, store, view
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
    query, key, values = (
        dense(y, w[f"{part}.weight"], w[f"{part}.bias"]) for part, y in (("q", reads), ("k", x), ("v", x))
    )
    centre = before_truncation(reads, sfix.f, w["log_sum.weight"], w["log_sum.bias"])
    query = view(query, x.shape[0], query.total_size() // (x.shape[0] * x.shape[2]), x.shape[2])
    return average(query, key, with_mask(values, mask, heads), centre, heads=heads, groups=heads, **weighing)


def average(query, key, values, centre, *, heads, groups, causal=False, **weighing):
    """Values, weighed by scores less the estimates `centre` of their rows' log-sum-exps. Heads of a group share one of
    keys and values. `causal`: the R rows are the last of the T, and none sees those behind it.

    Shapes: query `[B, R, H·D]`, key `[B, T, G·D]`, values `[B·T·G, D+1]` with what they count behind them, centre: sint
    vector of `B·R·H` at 2f -> `[B, R, H·D]`. Scale: f.
    Interval: as `attend`.
    Error: as `attend`.
    Rounds: 84; 108 without masked openings. Opens: as `weights`.
    """
    batch, rows, width = query.shape
    tokens, size, group = key.shape[1], width // heads, heads // groups
    centred = scores(query, key, heads, groups) - per_score(store(centre, batch * rows, heads), batch, tokens)
    if causal and rows > 1:
        seen = up_to_own(batch * heads, rows, tokens)
        each = scratch((centred.size,), sint)
        each.assign_all(0)
        centred = gather(store(centred, centred.size), seen)
        weights(centred, **weighing).get_vector().store_in_mem(each.address + seen)
        break_point()
    else:
        each = weights(centred, **weighing)
    each = view(each, batch, groups, group * rows, tokens)
    values = view(values, batch * tokens, groups * (size + 1))
    sums = [
        block_product(
            each[example][head], regint.inc(group * rows, 0, tokens), regint.inc(tokens),
            values, regint.inc(tokens, example * tokens), regint.inc(size + 1, head * (size + 1)),
        )
        for example in range(batch) for head in range(groups)
    ]  # fmt: skip
    found = store(rescale(sint.concat(sums), 2 * sfix.f), batch * heads * rows, size + 1)
    return quotient(found, inverse, batch, heads)


def scores(query, key, heads, groups):
    """q_i·k_j of every example and head.

    Shapes: `[B, R, H·D]`, `[B, T, G·D]` -> sint vector `[B, H, R, T]`. Scale: f -> 2f.
    Interval: all, modulo the ring.
    Error: that of query and key.
    Rounds: 1. Opens: nothing.
    """
    batch, rows, width = query.shape
    tokens, size, group = key.shape[1], width // heads, heads // groups
    flat, total = view(key, key.total_size(), 1), groups * size
    products = [
        block_product(
            query,
            regint.inc(group * rows, (example * rows * heads + head * group) * size, width, 1, rows)
            + regint.inc(group * rows, 0, size, rows),
            regint.inc(size), flat, regint.inc(size, head * size),
            regint.inc(tokens, example * tokens * total, total),
        )
        for example in range(batch) for head in range(groups)
    ]  # fmt: skip
    return sint.concat(products)


def up_to_own(blocks, rows, tokens):
    """Offsets in `[blocks, rows, tokens]` of what the last `rows` of `tokens` see: those before them and themselves."""
    counts = range(tokens - rows + 1, tokens + 1)
    # Side by side in memory: concatenated in a register, the compiler would treat every element by itself.
    offsets = scratch((blocks * sum(counts),), regint)
    base = 0
    for row, count in enumerate(counts):
        size = blocks * count
        of_row = regint.inc(size, row * tokens, rows * tokens, count) + regint.inc(size, 0, 1, 1, count)
        offsets.assign_vector(of_row, base)
        base += size
    break_point()
    return offsets.get_vector()


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


def numbers(*, period, mean, amplitudes):
    """What `squared_root` takes of a series, as integers: the factor that makes a phase, the mean, the amplitudes."""
    flat = [masked_opening.shorter(part, ROOT_BITS) for pair in amplitudes for part in pair]
    return [round(2 ** (TURN_BITS - 2 * sfix.f) / period), round(mean * 2**ROOT_BITS), *flat]


def squared_root(centred, *, series=None, **fitted):
    """G(s)², G a Fourier series that the generator has fitted to e^(s/2) up to a plateau (`codegen/series/softmax.py`).

    Shapes: sint vector, `series`: `numbers` (`tensor.spread`), by default those of `fitted` -> sfix vector. Scale: 2f
    -> f.
    Interval: what G was fitted on, a little less than `period`; s is taken modulo that.
    Error: 8e-4 G, 2 units, and the fit's: twice 1 % as a rule.
    Rounds: 6, 96 bytes a score and 32 a pair of amplitudes. Opens: as `masked_opening.own_number`.
    """
    factor, mean, *flat = series or numbers(**fitted)
    amplitudes = list(zip(flat[::2], flat[1::2], strict=True))
    root = masked_opening.series(centred * spread(factor, centred.size), amplitudes, ROOT_BITS)
    root = root + spread(mean, centred.size)
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
