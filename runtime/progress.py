"""What a run shows while it works: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

QUIET_SECONDS = 10.0
"""A plain display says how far a step is after that long without a line."""


@dataclass(frozen=True)
class Status:
    """The state of the search after a generation; bytes are those of all parties together."""

    generation: int
    generations: int
    best_loss: float
    best_dev: float
    evaluations: int
    bytes_sent: int
    health: float | None = None
    """Most rows per example, of any candidate, that have a wrong length, if the program shows them."""
    left: str = ""
    """What the parties still open, if the program limits that."""

    def text(self, seconds: float, since_start: int) -> str:
        """One line; the rate and the time left are those of this process (`since_start` generations, `seconds`)."""
        each = seconds / max(since_start, 1)
        rate = self.evaluations / max(self.generation, 1) / each if each else 0.0
        traffic = f"{self.bytes_sent / 1e6:.1f} MB  " if self.bytes_sent else ""  # parties elsewhere may not tell
        health = "" if self.health is None else f"health {self.health:.2g} rows off  "
        limits = f"{self.left}  " if self.left else ""
        left = clock(each * (self.generations - self.generation))
        return (
            f"generation {self.generation}/{self.generations}  loss {self.best_loss:.4f}  dev {self.best_dev:.4f}  "
            f"{rate:.1f} evaluations/s  {health}{limits}{traffic}{left} left"
        )


class Advance(Protocol):
    """A part of the work is complete."""

    @property
    def generation(self) -> int:
        """How many parts are."""

    @property
    def generations(self) -> int:
        """Of how many."""

    def text(self, seconds: float, since_start: int) -> str:
        """One line; this process has done `since_start` parts in so many seconds."""


class Step:
    """How far the parties are with what they were asked last: tiles of (candidate, example) pairs, or of examples."""

    def __init__(self) -> None:
        self._done, self._began = 0, time.monotonic()
        self._reached = self._began

    def text(self, done: int, total: int) -> str:
        """Share and time left, at the rate up to the last tile: until the next one it counts down."""
        now = time.monotonic()
        if done != self._done:
            self._done, self._reached = done, now
        if not done:
            return "0%"
        left = (self._reached - self._began) / done * (total - done) - (now - self._reached)
        return f"{done / total:.0%}, {clock(max(left, 0.0))} left"


class Display(Protocol):
    """Where notes and progress go."""

    def note(self, text: str) -> None:
        """One line that stays."""

    def start(self, generation: int, generations: int, unit: str = "generation") -> None:
        """The work begins (or continues) after this generation, or other unit, of so many."""

    def update(self, status: Advance) -> None:
        """One more is complete."""

    def part(self, done: int, total: int) -> None:
        """The parties have done a part of a step; 0 of 0: one begins. May come from any thread, often."""

    def stop(self) -> None:
        """The work is over, however it ended. Safe to call twice."""


class PlainDisplay:
    """A line a generation, and a line now and then within a long one: for log files, pipes and dumb terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._first = 0
        self._began = self._spoke = time.monotonic()
        self._step = Step()
        self._doing, self._unit = "preparing", "generation"

    def note(self, text: str) -> None:
        """Print a line."""
        self._spoke = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, generation: int, generations: int, unit: str = "generation") -> None:
        """Start the clock."""
        self._first, self._began, self._unit = generation, time.monotonic(), unit
        self._doing = f"{unit} {generation + 1}/{generations}"

    def update(self, status: Advance) -> None:
        """Print the status."""
        self.note(self._line(status))

    def part(self, done: int, total: int) -> None:
        """Print how far a step is, if nothing was printed for a while."""
        if not total:
            self._step = Step()
            return
        text = self._step.text(done, total)
        if time.monotonic() - self._spoke >= QUIET_SECONDS:
            self.note(f"{self._doing}: {text}")

    def stop(self) -> None:
        """What comes now is the end."""
        self._doing = "finishing"

    def _line(self, status: Advance) -> str:
        self._doing = f"{self._unit} {min(status.generation + 1, status.generations)}/{status.generations}"
        return status.text(time.monotonic() - self._began, status.generation - self._first)


class LiveDisplay(PlainDisplay):
    """One bar that is redrawn in place; notes scroll above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        text = TextColumn("{task.description}", markup=False)
        self._bar = Progress(SpinnerColumn(), BarColumn(24), text, console=console)
        self._task: TaskID | None = None
        self._status = ""

    def start(self, generation: int, generations: int, unit: str = "generation") -> None:
        """Start clock and bar."""
        super().start(generation, generations, unit)
        self._status = f"first {unit}"
        self._task = self._bar.add_task(self._status, completed=generation, total=generations)
        self._bar.start()

    def update(self, status: Advance) -> None:
        """Redraw the bar."""
        assert self._task is not None
        self._status = self._line(status)
        self._bar.update(self._task, completed=status.generation, total=status.generations, description=self._status)

    def part(self, done: int, total: int) -> None:
        """Redraw the bar; before and after the search there is none."""
        if self._task is None or not total:
            return super().part(done, total)
        self._bar.update(self._task, description=f"{self._status}  (step: {self._step.text(done, total)})")

    def stop(self) -> None:
        """Leave the bar as it is and give the line back."""
        super().stop()
        if self._task is not None:
            self._bar.update(self._task, description=self._status)
        self._bar.stop()
        self._task = None


def make_display(console: Console) -> Display:
    """A live bar where the console can redraw lines, plain lines elsewhere."""
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(console)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as short as it can be."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
