"""Prompt rows and where they go."""

from Compiler.types import sfix

from lib.tensor import store


def prompt(offset, p0):
    """p0 + A·z, where the data owner, who knows both, has multiplied the public A with z.

    Shapes: offset `[n, h]`, p0 `[n, h]` -> `[n, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    return store(offset.get_vector() + p0.get_vector(), *p0.shape)


def insert(x, rows):
    """The prompt's rows behind row 0 of every example.

    Shapes: x `[B, T, h]`, rows `[n, h]` -> `[B, T+n, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, tokens, width = x.shape
    new = rows.get_vector()
    parts = []
    for example in range(batch):
        row = x[example]
        parts += [row.get_part_vector(0, 1), new, row.get_part_vector(1, tokens - 1)]
    return store(sfix.concat(parts), batch, tokens + rows.shape[0], width)


def token_rows(x, *, n):
    """x without the n prompt rows behind row 0 of every example.

    Shapes: x `[B, T+n, h]` -> `[B, T, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, tokens, width = x.shape
    parts = []
    for example in range(batch):
        row = x[example]
        parts += [row.get_part_vector(0, 1), row.get_part_vector(1 + n, tokens - n - 1)]
    return store(sfix.concat(parts), batch, tokens - n, width)


def insert_mask(mask, *, n, value):
    """n times a public value behind column 0.

    Shapes: mask `[B, T]` -> `[B, T+n]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, tokens = mask.shape
    new = sfix(value, size=n)
    parts = []
    for example in range(batch):
        row = mask[example]
        parts += [row.get_vector(0, 1), new, row.get_vector(1, tokens - 1)]
    return store(sfix.concat(parts), batch, tokens + n)
