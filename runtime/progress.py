"""What a run shows while it works: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn


@dataclass(frozen=True)
class Status:
    """The state of the search after a generation; bytes are those of all parties together."""

    generation: int
    generations: int
    best_loss: float
    best_dev: float
    evaluations: int
    bytes_sent: int

    def text(self, seconds: float, since_start: int) -> str:
        """One line; the rate and the time left are those of this process (`since_start` generations, `seconds`)."""
        each = seconds / max(since_start, 1)
        rate = self.evaluations / max(self.generation, 1) / each if each else 0.0
        return (
            f"generation {self.generation}/{self.generations}  loss {self.best_loss:.4f}  dev {self.best_dev:.4f}  "
            f"{rate:.1f} evaluations/s  {self.bytes_sent / 1e6:.1f} MB  "
            f"{clock(each * (self.generations - self.generation))} left"
        )


class Display(Protocol):
    """Where notes and progress go."""

    def note(self, text: str) -> None:
        """One line that stays."""

    def start(self, generation: int) -> None:
        """The search begins (or continues) after this generation."""

    def update(self, status: Status) -> None:
        """A generation is complete."""

    def stop(self) -> None:
        """The search is over, however it ended. Safe to call twice."""


class PlainDisplay:
    """A line a generation: for log files, pipes and dumb terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._first = 0
        self._began = time.monotonic()

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, generation: int) -> None:
        """Start the clock."""
        self._first, self._began = generation, time.monotonic()

    def update(self, status: Status) -> None:
        """Print the status."""
        self.note(status.text(time.monotonic() - self._began, status.generation - self._first))

    def stop(self) -> None:
        """Nothing to end."""


class LiveDisplay(PlainDisplay):
    """One bar that is redrawn in place; notes scroll above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        text = TextColumn("{task.description}", markup=False)
        self._bar = Progress(SpinnerColumn(), BarColumn(24), text, console=console)
        self._task: TaskID | None = None

    def start(self, generation: int) -> None:
        """Start clock and bar."""
        super().start(generation)
        self._task = self._bar.add_task("first generation", total=None)
        self._bar.start()

    def update(self, status: Status) -> None:
        """Redraw the bar."""
        assert self._task is not None
        text = status.text(time.monotonic() - self._began, status.generation - self._first)
        self._bar.update(self._task, completed=status.generation, total=status.generations, description=text)

    def stop(self) -> None:
        """Leave the bar as it is and give the line back."""
        self._bar.stop()


def make_display(console: Console) -> Display:
    """A live bar where the console can redraw lines, plain lines elsewhere."""
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(console)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as short as it can be."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
