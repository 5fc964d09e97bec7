"""What is still to be done of one step, for groups that take pieces of it as they are free.

At first each takes nearly what it will do in the time that all need, by its measured speed. The rest is taken by
whoever is free, ever smaller pieces, so that all end at about the same time. A piece of a group that dies goes to the
others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .layout import Row, allotted


@dataclass(frozen=True)
class Piece:
    """Candidates, by number, on the examples of one row."""

    row: Row
    candidates: tuple[int, ...]

    @property
    def pairs(self) -> int:
        """How much it is."""
        return len(self.row) * len(self.candidates)


class Step:
    """The pieces of one step. Its methods may be called from any thread.

    `speeds` by group, of those that live; `reserve`: the part, 0 to 1, that is not given out at first; `left(group,
    row)`: for how many candidates of a row a group may still be asked.
    """

    def __init__(
        self, rows: Sequence[Row], candidates: int, speeds: Mapping[int, float], reserve: float,
        left: Callable[[int, Row], int],
    ) -> None:  # fmt: skip
        self._rows, self._speeds, self._left = rows, dict(speeds), left
        self._changed = threading.Condition()
        self._undone = len(rows) * candidates
        self._stopped = False
        self._waiting: dict[Row, list[int]] = {}
        self._first: dict[int, Piece] = {}
        for row in rows:
            living = [group for group in row.groups if group in self._speeds]
            # Half the reserve is how far off speeds were: less than a candidate per group is not worth a second piece.
            back = round(candidates * reserve) if len(living) > 1 and candidates * reserve >= 2 * len(living) else 0
            at_once = candidates - back if living else 0
            start = 0
            for group, count in zip(living, allotted([speeds[g] for g in living], at_once), strict=True):
                if count:
                    self._first[group] = Piece(row, tuple(range(start, start + count)))
                start += count
            self._waiting[row] = list(range(start, candidates))

    def take(self, group: int) -> Piece | None:
        """The next piece for a group, once there is one; None: nothing will come that it could do."""
        with self._changed:
            while self._undone and not self._stopped and group in self._speeds:
                if piece := self.next(group):
                    allowed = self._left(group, piece.row)
                    self._give_back(piece.row, piece.candidates[allowed:])
                    return Piece(piece.row, piece.candidates[:allowed]) if allowed else None
                self._changed.wait()
            return None

    def next(self, group: int) -> Piece | None:
        """What there is for a group now, without regard to what it may be asked."""
        with self._changed:
            return self._first.pop(group, None) or self._from_rest(group)

    def finish(self, piece: Piece) -> None:
        """A piece is done."""
        with self._changed:
            self._undone -= len(piece.candidates)
            self._changed.notify_all()

    def lose(self, group: int, piece: Piece) -> None:
        """A group has died with a piece that others do now."""
        with self._changed:
            self._speeds.pop(group, None)
            for each in (piece, self._first.pop(group, None)):
                if each:
                    self._give_back(each.row, each.candidates)

    def stop(self) -> None:
        """Nobody gets anything any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def complete(self) -> bool:
        """Whether all pieces are done."""
        return not self._undone

    def _give_back(self, row: Row, candidates: Sequence[int]) -> None:
        self._waiting[row] += candidates
        self._changed.notify_all()

    def _from_rest(self, group: int) -> Piece | None:
        """Some of what waits in its own row, or else in a row whose groups have all died."""
        own = [row for row in self._rows if group in row.groups]
        orphaned = [row for row in self._rows if not self._speeds.keys() & set(row.groups)]
        for row in [*own, *orphaned]:
            waiting = self._waiting[row]
            if waiting:
                others = self._speeds.keys() & set(row.groups) or self._speeds.keys()
                part = self._speeds[group] / sum(self._speeds[each] for each in others)
                taken = [waiting.pop(0) for _ in range(max(1, round(len(waiting) * min(part, 1.0))))]
                return Piece(row, tuple(taken))
        return None
