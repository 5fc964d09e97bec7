"""Products with weight matrices."""

from Compiler.types import sint

from lib import activations
from lib.tensor import across_rows, as_matrix, store
from lib.wire import PHASE_BITS, TURN_BITS


def before_truncation(x, scale, weight, bias):
    """x W + b as it comes out of the product.

    Shapes: x `[..., in]` of raw or sfix values, weight `[in, out]`, bias `[out]` -> sint vector of rows * out. Scale: x
    at `scale`, weight and bias at f -> scale + f.
    Interval: |x W + b| * 2^(scale + f) < 2^62.
    Error: that of weight and x.
    Rounds: 1. Opens: nothing.
    """
    rows = as_matrix(x)
    raw = sint.direct_matrix_mul(rows.address, weight.address, *rows.shape, weight.shape[-1])
    return raw + across_rows(bias, rows.shape[0]).v * 2**scale


def dense(x, weight, bias, act="none", **limits):
    """act(x W + b).

    Shapes: x `[..., in]`, weight `[in, out]`, bias `[out]` -> `[..., out]`. Scale: f.
    Interval: |x W + b| < 2^(k-f-1), and that of the activation, which takes the limits.
    Error: 1 unit, then the activation's.
    Rounds: 3, and the activation's. Opens: nothing.
    """
    rows = as_matrix(x)
    y = rows.direct_mul(weight) + across_rows(bias, rows.shape[0])
    return getattr(activations, act)(store(y, *x.shape[:-1], weight.shape[-1]), **limits)


def phases(x, weight, bias):
    """Phases x W + b in turns: the ring wraps as angles do, so no truncation and no range reduction.

    Shapes: x `[..., in]`, weight `[in, p]`, bias `[p]` (sint) -> sint vector of rows * p. Scale: x at f, weight at
    PHASE_BITS, bias at TURN_BITS -> TURN_BITS.
    Interval: all.
    Error: that of weight and x.
    Rounds: 1. Opens: nothing.
    """
    rows = as_matrix(x)
    raw = sint.direct_matrix_mul(rows.address, weight.address, *rows.shape, weight.shape[-1])
    return to_turns(raw, x.value_type.f + PHASE_BITS) + across_rows(bias, rows.shape[0])


def to_turns(raw, scale):
    """Shift turns at `scale` to TURN_BITS; local."""
    return raw * 2 ** (TURN_BITS - scale)
