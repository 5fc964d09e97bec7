"""Prompt rows and where they go."""

from Compiler.types import sfix

from lib.tensor import across_rows, store


def prompt(offset, p0):
    """p0 + A·z of some candidates, where the data owner, who knows both, has multiplied the public A with z.

    Shapes: offset `[C, n, h]`, p0 `[n, h]` -> `[C, n, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    return store(offset.get_vector() + across_rows(p0, offset.shape[0]), *offset.shape)


def insert(x, rows):
    """A prompt's rows behind row 0 of every example: of C candidates, each has B/C examples, one behind the other.

    Shapes: x `[B, T, h]`, rows `[C, n, h]` -> `[B, T+n, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, tokens, width = x.shape
    candidates, added = rows.shape[:2]
    parts = []
    for example in range(batch):
        row, new = x[example], rows[example * candidates // batch]
        parts += [row.get_part_vector(0, 1), new.get_vector(), row.get_part_vector(1, tokens - 1)]
    return store(sfix.concat(parts), batch, tokens + added, width)


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
