"""The one row of every example that the head reads."""

from Compiler.types import regint, sfix, sint

from lib.tensor import gather, rescale, store


def first_row(x):
    """Row 0.

    Shapes: `[B, T, h]` -> `[B, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, tokens, width = x.shape
    n = batch * width
    return store(gather(x, regint.inc(n, 0, tokens * width, width) + regint.inc(n, 0, 1, 1, width)), batch, width)


def select_row(x, select):
    """Rows weighted by `select`: one-hot picks a row secretly, mask over its sum gives the mean over tokens.

    Shapes: x `[B, T, h]`, select `[B, T]` -> `[B, h]`. Scale: f.
    Interval: |result| < 2^(k-f-1).
    Error: 1 unit + T·|x|/2 units: the weights have f bits.
    Rounds: 3. Opens: nothing.
    """
    batch, tokens, width = x.shape
    rows = [sint.direct_matrix_mul(select[b].address, x[b].address, 1, tokens, width) for b in range(batch)]
    return store(rescale(sint.concat(rows), 2 * sfix.f), batch, width)


def mean_rows(x, select):
    """The mean over unpadded rows; `select` is mask/Σmask.

    Shapes: x `[B, T, h]`, select `[B, T]` -> `[B, h]`. Scale: f.
    Interval: |result| < 2^(k-f-1).
    Error: 1 unit + T·|x|/2 units: the weights have f bits.
    Rounds: 3. Opens: nothing.
    """
    return select_row(x, select)
