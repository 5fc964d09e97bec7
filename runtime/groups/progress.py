"""How far a step is that several groups compute, from what each says of its own piece."""

from __future__ import annotations

import threading
from functools import partial

from ..engine import Progress


class StepProgress:
    """Adds up pairs of candidates and examples; may be told of them from any thread."""

    def __init__(self, shown: Progress) -> None:
        self._shown, self._lock = shown, threading.Lock()
        self._total = self._done = 0
        self._pieces: dict[int, tuple[int, float]] = {}
        """Of every group that computes, pairs of its piece and the part that is done."""

    def of(self, group: int) -> Progress:
        """What that group's engine tells."""
        return partial(self._hear, group)

    def begin(self, pairs: int) -> None:
        """A step of so many pairs."""
        with self._lock:
            self._total, self._done, self._pieces = pairs, 0, {}
        self._shown(0, 0)

    def piece(self, group: int, pairs: int) -> None:
        """A group begins with a piece."""
        with self._lock:
            self._pieces[group] = pairs, 0.0

    def end(self, group: int, done: bool) -> None:
        """It is through with it, or has died."""
        with self._lock:
            pairs, _ = self._pieces.pop(group, (0, 0.0))
            self._done += pairs * done
        self._show()

    def _hear(self, group: int, done: int, total: int) -> None:
        with self._lock:
            if not total or group not in self._pieces:
                return
            self._pieces[group] = self._pieces[group][0], done / total
        self._show()

    def _show(self) -> None:
        with self._lock:
            done = self._done + sum(pairs * part for pairs, part in self._pieces.values())
            total = self._total
        self._shown(round(done), total)
