"""Random-feature attention (Peng et al. 2021, eq. 5): per head φ(q)ᵀS / φ(q)ᵀn with S = Σ m φ(k) vᵀ, n = Σ m φ(k).

Heads and examples are separate small products; they stand next to each other in one basic block, where MP-SPDZ
merges them into one instruction, hence one round.
"""

import math

from Compiler.library import break_point
from Compiler.types import regint, sfix, sint

from lib.activations import at_least
from lib.linear import dense, phases, to_turns
from lib.masked_opening import PHASOR_BITS
from lib.normalization import unit_rows
from lib.polynomial import chebyshev, fit, normalised
from lib.tensor import across_columns, as_matrix, gather, rescale, scratch, store, view
from lib.trigonometry import cos_sin
from lib.wire import PHASE_BITS

LARGEST_DENOMINATOR = 1.1
"""cos sums over features and rows, divided by their number, stay below 1; the rest is room for error."""


def folded(reads, x, mask, w, *, heads, features, floor):
    """Attention whose phases are one matrix product from the hidden rows (projection folded into query and key
    weights).

    Shapes: reads `[B, R, h]`, x `[B, T, h]`, mask `[B, T]`, weights phase_query, phase_key `[h, H·F]`, v `[h, H·D]` ->
    `[B, R, H·D]`: what the rows `reads` find in the rows x.
    Scale: f, phase weights at PHASE_BITS.
    Interval: |v| < 64, T and F up to 2^9.
    Error: 1e-3 relative to max |v| where the denominator is above 10 floors.
    Rounds: 55; up to 75 without masked openings. Opens: as `cos_sin`.
    """
    query, key = (
        phases(rows, w[f"phase_{part}.weight"], w[f"phase_{part}.bias"])
        for part, rows in (("query", reads), ("key", x))
    )
    values = dense(x, w["v.weight"], w["v.bias"])
    return from_phases(query, key, values, mask, heads, features, floor)


def paper(reads, x, mask, w, *, heads, features, floor):
    """Attention with q and k scaled to unit length first, then projected by Ω/2π (Peng et al. 2021, section 3.1).

    Shapes: as `folded`, weights q, k `[h, H·D]`, features `[H, F, D]` holding Ω/2π. Scale: f, features at
    PHASE_BITS.
    Interval: ‖q‖², ‖k‖² per head from 2^-10 to 2^(k-f-1).
    Error: 1e-3 relative to max |v| where the denominator is above 10 floors.
    Rounds: 205; up to 225 without masked openings. Opens: as `cos_sin`.
    """
    size = x.shape[-1] // heads
    query, key = (
        head_phases(units(dense(rows, w[f"{part}.weight"], w[f"{part}.bias"]), size), w["features"])
        for part, rows in (("q", reads), ("k", x))
    )
    values = dense(x, w["v.weight"], w["v.bias"])
    return from_phases(query, key, values, mask, heads, features, floor)


def units(x, size):
    """Every `size` columns of a row at unit length.

    Shapes: `[..., c]` -> `[rows, c]`. Scale: f.
    Interval: that of `unit_rows`.
    Error: that of `unit_rows`.
    Rounds: 68. Opens: nothing.
    """
    return as_matrix(view(unit_rows(view(x, x.total_size() // size, size)), *x.shape))


def head_phases(x, projection):
    """Phases of every head by its own projection.

    Shapes: x `[rows, H·D]`, projection `[H, F, D]` (sint) -> sint vector of rows * H·F. Scale: f, PHASE_BITS ->
    TURN_BITS.
    Interval: all.
    Error: that of x.
    Rounds: 1. Opens: nothing.
    """
    rows, width = x.shape
    heads, features, size = projection.shape
    result = scratch((rows, heads * features), sint)
    for head in range(heads):
        product = sint.direct_matrix_mul(
            x.address, projection.address, None, width, 1,
            indices=[regint.inc(rows), regint.inc(size, head * size), regint.inc(size), rows_of(projection, head)],
        )  # fmt: skip
        columns = regint.inc(rows * features, head * features, 1, 1, features)
        product.store_in_mem(result.address + columns + regint.inc(rows * features, 0, heads * features, features))
    break_point()
    return to_turns(result.get_vector(), x.value_type.f + PHASE_BITS)


def from_phases(query, key, values, mask, heads, features, floor):
    """Attention output from phases; padding rows (mask 0) give neither keys nor weight.

    Shapes: query, key: sint vectors of `B·R * H·F` and `B·T * H·F`; values `[B, T, H·D]`, mask `[B, T]` ->
    `[B, R, H·D]`. Scale: TURN_BITS and f -> f.
    Interval: |values| < 64, T and F up to 2^9.
    Error: as `folded`.
    Rounds: 52; up to 72 without masked openings. Opens: as `cos_sin`.
    """
    batch, tokens, width = values.shape
    size = width // heads
    angles = heads * features
    rows = batch * tokens
    reads = query.size // angles // batch
    cosine, sine = cos_sin(query.concat([query, key]))
    # φ of query and of key: cosines, then sines, one row a token.
    phi_query, phi_key = (
        store(sint.concat([part.get_vector(base, size) for part in (cosine, sine)]), 2, size // angles, angles)
        for base, size in ((0, query.size), (query.size, key.size))
    )
    values = view(with_mask(values, mask, heads), rows, heads * (size + 1))

    blocks = [(example, head) for example in range(batch) for head in range(heads)]
    # S and n, divided by a power of two from T on, of every example and head: [B, H, 2F, D+1]
    token_bits, feature_bits = (math.ceil(math.log2(count)) for count in (tokens, features))
    sums = [
        block_product(
            phi_key, feature_addresses(rows, angles, head, features), regint.inc(tokens, example * tokens) * angles,
            values, regint.inc(tokens, example * tokens), regint.inc(size + 1, head * (size + 1)),
        )
        for example, head in blocks
    ]  # fmt: skip
    state = store(rescale(sint.concat(sums), PHASOR_BITS + sfix.f + token_bits), batch, heads, 2 * features, size + 1)
    # φ(q)ᵀ [S n], divided by a power of two from F on: [B, H, R, D+1]
    read = [
        block_product(
            phi_query, regint.inc(reads, example * reads) * angles,
            feature_addresses(batch * reads, angles, head, features),
            state[example][head], regint.inc(2 * features), regint.inc(size + 1),
        )
        for example, head in blocks
    ]  # fmt: skip
    result = store(rescale(sint.concat(read), PHASOR_BITS + sfix.f + feature_bits), batch * heads * reads, size + 1)
    share = tokens / 2**token_bits * features / 2**feature_bits
    return quotient(result, lambda x: reciprocal(x, floor * share, LARGEST_DENOMINATOR * share), batch, heads)


def quotient(sums, inverse, batch, heads):
    """All columns but the last, times the `inverse` of the last; heads side by side.

    Shapes: `[B·H·R, D+1]` -> `[B, R, H·D]`. Scale: f.
    Interval: that of `inverse`, a function of a vector.
    Error: that of `inverse`, times the columns, and 1 unit.
    Rounds: 3 and those of `inverse`. Opens: nothing.
    """
    rows, size = sums.shape[0], sums.shape[1] - 1
    reads = rows // (batch * heads)
    denominator = gather(sums, regint.inc(rows, size, size + 1))
    numerator = gather(sums, strided(rows, size, size + 1))
    weighted = store(numerator * across_columns(inverse(denominator), size), batch, heads, reads, size)
    return store(heads_last(weighted), batch, reads, heads * size)


def block_product(a, rows, columns, b, inner, across):
    """Product of parts of two containers, raw (scale 2f), to stand in one round with its neighbours.

    `rows`, `columns`: offsets within a; `inner`, `across`: row and column numbers within b.
    """
    return sint.direct_matrix_mul(a.address, b.address, None, 1, b.shape[-1], indices=[rows, columns, inner, across])


def with_mask(values, mask, heads):
    """`[B·T·H, D+1]`: m·v with m behind every head, m in {0, 1} at scale f.

    Shapes: `[B, T, H·D]`, `[B, T]` -> `[B·T·H, D+1]`. Scale: f.
    Interval: all.
    Error: 1 unit.
    Rounds: 3. Opens: nothing.
    """
    rows, width = mask.total_size(), values.shape[-1]
    size = width // heads
    result = scratch((rows * heads, size + 1))
    masked = values.get_vector() * across_columns(mask.get_vector(), width)
    masked.store_in_mem(result.address + strided(rows * heads, size, size + 1))
    across_columns(mask.get_vector(), heads).store_in_mem(result.address + regint.inc(rows * heads, size, size + 1))
    break_point()
    return result


def reciprocal(x, low, high):
    """1/max(x, low): a polynomial of degree 14 that is best in relative error, then two Newton steps y(2 - xy).

    Shapes: vector -> vector. Scale: f.
    Interval: x < high.
    Error: 4 units + 1e-4 relative, for high up to 1.1 and low from high / 110.
    Rounds: 37. Opens: nothing.
    """
    degree = 15
    at_zero = degree_at(-(high + low) / (high - low), degree)

    def start(v):
        return (1 - degree_at((2 * v - low - high) / (high - low), degree) / at_zero) / v

    bounded = at_least(x, low)
    (y,) = chebyshev(normalised(bounded, low, high), fit(start, low, high, degree - 1))
    for _ in range(2):
        y = y * (2 - bounded * y)
    return y


def degree_at(t, degree):
    """The Chebyshev polynomial T_degree(t)."""
    previous, current = 1.0, t
    for _ in range(degree - 1):
        previous, current = current, 2 * t * current - previous
    return current


def feature_addresses(rows, angles, head, features):
    """Offsets of the head's cos and sin columns within `[2, rows, H·F]`."""
    count = 2 * features
    return regint.inc(count, head * features, 1, 1, features) + regint.inc(count, 0, rows * angles, features)


def strided(rows, size, stride):
    """Offsets of the first `size` of every `stride` elements."""
    return regint.inc(rows * size, 0, stride, size) + regint.inc(rows * size, 0, 1, 1, size)


def rows_of(projection, head):
    """Offsets of the F rows of this head's matrix."""
    features, size = projection.shape[1:]
    return regint.inc(features, head * features) * size


def heads_last(x):
    """Vector `[B, T, H, D]` from x `[B, H, T, D]`."""
    batch, heads, tokens, size = x.shape
    n = x.total_size()
    return gather(
        x,
        regint.inc(n, 0, heads * tokens * size, heads * tokens * size, batch)
        + regint.inc(n, 0, size, heads * size, tokens)
        + regint.inc(n, 0, tokens * size, size, heads)
        + regint.inc(n, 0, 1, 1, size),
    )
