"""How a step's pairs of candidates and examples are cut for groups of parties of different speeds.

Candidates are spread first: every group holds the whole set, and whoever is free takes some. Where there are too few
candidates for that, the set is cut into rows of examples as well, each held by some of the groups:

                     candidates
              .--------.--------.
    row 1     | group 0| group 2|     a loss is a weighted sum over examples: that of a candidate
    row 2     | group 1| group 3|     is the sum of what the rows open
              '--------'--------'
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

ENOUGH = 0.9
"""Part of all groups' time that a layout has to use; of those that do, the one with the fewest rows is taken."""


@dataclass(frozen=True)
class Row:
    """Examples that some groups hold, from `start` to before `stop`."""

    start: int
    stop: int
    groups: tuple[int, ...]
    """By number."""

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def examples(self) -> slice:
        """Their place in the set."""
        return slice(self.start, self.stop)


def allotted(speeds: Sequence[float], count: int) -> list[int]:
    """So many things for each of these speeds that the last is done as early as it can be; they add up to `count`."""
    given = [0] * len(speeds)
    waiting = [(1 / speed, i) for i, speed in enumerate(speeds)]
    heapq.heapify(waiting)
    for _ in range(count):
        _, i = waiting[0]
        given[i] += 1
        heapq.heapreplace(waiting, ((given[i] + 1) / speeds[i], i))
    return given


def layout(speeds: Mapping[int, float], candidates: int, examples: int, most_rows: int) -> tuple[Row, ...]:
    """Rows of a set for steps of so many candidates; `speeds` by group, in pairs per second, all above 0."""
    best, least = _rows(speeds, examples, 1), inf
    for count in range(1, min(len(speeds), examples, most_rows) + 1):
        rows = _rows(speeds, examples, count)
        took = seconds(rows, speeds, candidates)
        if took < least:
            best, least = rows, took
        if took * ENOUGH <= candidates * examples / sum(speeds.values()):
            return rows
    return best


def seconds(rows: Sequence[Row], speeds: Mapping[int, float], candidates: int) -> float:
    """What a step takes: until the last group of all rows is done; infinite where a row is empty."""
    last = 0.0
    for row in rows:
        own = [speeds[group] for group in row.groups]
        counts = allotted(own, candidates)
        took = max(count * len(row) / speed for count, speed in zip(counts, own, strict=True))
        last = max(last, took if len(row) else inf)
    return last


def _rows(speeds: Mapping[int, float], examples: int, count: int) -> tuple[Row, ...]:
    """So many rows: groups join the slowest row, the fastest first, and examples follow the rows' speeds."""
    members: list[list[int]] = [[] for _ in range(count)]
    totals = [0.0] * count
    for group in sorted(speeds, key=lambda each: -speeds[each]):
        slowest = totals.index(min(totals))
        members[slowest].append(group)
        totals[slowest] += speeds[group]
    rows, start = [], 0
    for groups, size in zip(members, allotted(totals, examples), strict=True):
        rows.append(Row(start, start + size, tuple(groups)))
        start += size
    return tuple(rows)
