"""Prompt rows and where they go."""

from Compiler.library import break_point
from Compiler.types import regint, sfix, sint

from lib.tensor import across_rows, rescale, scratch, store


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


def add_offset(x, offset, *, at):
    """x with a candidate's offset on rows at <= i < at + n of every example: of C candidates, each has B/C examples.

    Shapes: x `[B, R, h]`, offset `[C, n, h]` -> `[B, R, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, rows, _ = x.shape
    candidates, added = offset.shape[:2]
    parts = []
    for example in range(batch):
        row, new = x[example], offset[example * candidates // batch]
        parts += [row.get_part_vector(0, at)] if at else []
        parts.append(row.get_part_vector(at, added) + new.get_vector())
        parts += [row.get_part_vector(at + added, rows - at - added)] if at + added < rows else []
    return store(sfix.concat(parts), *x.shape)


def add_first(x, mask, offset):
    """x with a candidate's offset on the first n rows that the mask, 0…01…1, keeps: secret ones, named by differences
    of the mask.

    Shapes: x `[B, R, h]`, mask `[B, R]`, offset `[C, n, h]` -> `[B, R, h]`. Scale: f.
    Interval: |offset| < 2^(k-f-1).
    Error: 1 unit.
    Rounds: 3. Opens: nothing.
    """
    batch, rows, width = x.shape
    candidates, added = offset.shape[:2]
    places = scratch((batch, rows, added))
    for j in range(added):
        before, behind = (_further_down(mask, j + k) for k in (0, 1))
        (before - behind).store_in_mem(places.address + regint.inc(batch * rows, j, added))
    break_point()
    moved = [
        sint.direct_matrix_mul(
            places[example].address, offset[example * candidates // batch].address, rows, added, width
        )
        for example in range(batch)
    ]  # fmt: skip
    return store(x.get_vector() + rescale(sint.concat(moved), 2 * sfix.f), *x.shape)


def _further_down(mask, by):
    """The mask, its columns moved by some; what comes in is its first, which is 0."""
    batch, rows = mask.shape
    parts = []
    for example in range(batch):
        row = mask[example]
        parts += [row.get_vector(0, 1)] * by + [row.get_vector(0, rows - by)]
    return sfix.concat(parts)


def slice_rows(x, *, lo, hi):
    """Rows lo <= i < hi of every example.

    Shapes: x `[B, R, h]` -> `[B, hi-lo, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, _, width = x.shape
    return store(sfix.concat([x[i].get_part_vector(lo, hi - lo) for i in range(batch)]), batch, hi - lo, width)


def join_rows(x, y):
    """Rows of x, then of y, of every example.

    Shapes: x `[B, R, h]`, y `[B, S, h]` -> `[B, R+S, h]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    batch, rows, width = x.shape
    parts = [each[i].get_vector() for i in range(batch) for each in (x, y)]
    return store(sfix.concat(parts), batch, rows + y.shape[1], width)


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
