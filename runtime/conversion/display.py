"""What a conversion shows while it trains: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from ..adaptation.training import Progress
from ..progress import QUIET_SECONDS, clock


class ConversionDisplay:
    """Stage, step, loss, rate and time left of the stage; use it as a context while training."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._bars = Bars(SpinnerColumn(), BarColumn(24), TextColumn("{task.description}"), console=console)
        self._tasks: dict[str, TaskID] = {}
        self._spoke = 0.0
        self._first: Progress | None = None
        self._loss = 0.0

    def __enter__(self) -> ConversionDisplay:
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, progress: Progress) -> None:
        """A step is done."""
        if self._first is None or self._first.stage != progress.stage:
            self._first, self._loss = progress, progress.loss
        self._loss += 0.05 * (progress.loss - self._loss)
        text = self._text(self._first, progress)
        if self._live:
            if progress.stage not in self._tasks:
                self._tasks[progress.stage] = self._bars.add_task("", total=progress.steps)
            task = self._tasks[progress.stage]
            self._bars.update(task, completed=progress.step, description=text)
        elif progress.step == progress.steps or time.monotonic() - self._spoke > QUIET_SECONDS:
            self._spoke = time.monotonic()
            self.note(text)

    def _text(self, first: Progress, now: Progress) -> str:
        """One line; the loss is a running mean, the rate is that of this stage and process."""
        done, seconds = now.step - first.step, now.seconds - first.seconds
        pace = f"{done / seconds:.1f} steps/s, {clock(seconds / done * (now.steps - now.step))} left" if done else "…"
        return f"{now.stage} {now.step}/{now.steps}  loss {self._loss:.4f}  {pace}"
