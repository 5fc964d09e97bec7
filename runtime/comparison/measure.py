"""One protocol's row of a comparison: run the task under it, or say why not."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ...codegen.mpspdz.calls import translate
from ...codegen.mpspdz.options import MpSpdzOptions
from ..embedded.running import compiled_engine
from ..engine import Engine, Floats
from ..errors import SecfwtError
from ..mpspdz.local import mpspdz_engine, options_for
from ..progress import Display
from .options import Choices
from .phases import embedded_online, mpspdz_online
from .protocols import EMBEDDED, PROMISES, Numbers, Promise, embedded_numbers, mpspdz_numbers
from .task import Task

T = TypeVar("T")


class CountingEngine(Engine, Protocol):
    """An engine that also counts by party."""

    def sent(self) -> Sequence[int]:
        """Bytes that every party has sent to the others so far."""


Opened = AbstractContextManager[CountingEngine]
Open = Callable[[str, Task, Path, Display], Opened]
"""Protocol, task, a folder for the parties' files, display -> the engine."""


@dataclass(frozen=True)
class Spent:
    """What a command has cost."""

    seconds: float
    bytes_sent: float
    """By all parties."""
    busiest_bytes: float
    """By the party that sends most."""
    rounds: float


@dataclass
class Row:
    """A protocol's results; what is measured is None where the run did not get that far."""

    protocol: str
    promise: Promise
    numbers: Numbers
    start_seconds: float | None = None
    """Until the parties hold the weights: compiling, starting processes, sharing."""
    load: Spent | None = None
    """Sharing the examples, and what is computed once for them."""
    steps: list[Spent] = field(default_factory=list)
    """Every run of the step."""
    online_bytes: float | None = None
    """Of a step, sent by all parties: the rest depends on no input. None also where an engine does not tell."""
    max_error: float | None = None
    """Largest difference of a loss or a logit from the float64 oracle's."""
    peak_bytes: int | None = None
    """Largest memory of a party."""
    failure: str = ""

    @property
    def step(self) -> Spent | None:
        """The median of the seconds, the mean of what is sent: some protocols make randomness for several steps."""
        if not self.steps:
            return None
        return Spent(
            statistics.median(s.seconds for s in self.steps), statistics.fmean(s.bytes_sent for s in self.steps),
            statistics.fmean(s.busiest_bytes for s in self.steps), statistics.fmean(s.rounds for s in self.steps),
        )  # fmt: skip


class Overdue(SecfwtError):  # noqa: N818 (what it says of the run)
    """A protocol takes longer than it may."""


def measure(protocol: str, task: Task, choices: Choices, folder: Path, display: Display, open_one: Open) -> Row:
    """Run the task under a protocol; whatever goes wrong is the row's `failure`, apart from an interruption."""
    numbers = embedded_numbers() if protocol == EMBEDDED else mpspdz_numbers(_options(protocol, task, choices))
    row = Row(protocol, PROMISES[protocol], numbers)
    try:
        with _deadline(choices.seconds):
            began = time.monotonic()
            with open_one(protocol, task, folder, display) as engine:
                row.start_seconds = time.monotonic() - began
                _evaluate(engine, task, choices.runs, row, display)
            row.online_bytes = _online(row, task, choices, folder, display, open_one)
    except Exception as error:  # whatever it is, the other protocols are still to be measured
        row.failure = " ".join(str(error).split()) or type(error).__name__
    if not row.failure and not (row.max_error or 0) <= choices.error:
        row.failure = (
            f"wrong result: {row.max_error:.3g} from the oracle's, accepted is {choices.error:g} (--tolerance)"
        )
    return row


def open_engine(given: str, choices: Choices) -> Open:
    """How engines are opened; `given`: MP-SPDZ's folder, where it is not in the usual places."""

    def opened(protocol: str, task: Task, folder: Path, display: Display) -> Opened:
        if protocol == EMBEDDED:
            return compiled_engine(task.compiled, folder, display)
        return mpspdz_engine(task.plan, task.weights, _options(protocol, task, choices), folder, display, given)

    return opened


def _evaluate(engine: CountingEngine, task: Task, runs: int, row: Row, display: Display) -> None:
    """Load the examples, run the step `runs` times, and once more for the logits, which are only compared."""
    row.load, _ = _spent(engine, lambda: engine.load_examples("set", task.batch))
    display.note(f"examples loaded in {row.load.seconds:.3g} s")
    errors: list[float] = []
    for i in range(runs):
        step, losses = _spent(engine, lambda: engine.losses("set", task.z))
        row.steps.append(step)
        errors.append(_difference(losses, task.losses))
        display.note(f"step {i + 1} of {runs}: {step.seconds:.3g} s")
    errors.append(_difference(engine.logits("set", task.z[0]), task.logits))
    row.max_error = float(np.max(errors))  # NaN stays NaN
    row.peak_bytes = engine.cost().peak_bytes


def _online(row: Row, task: Task, choices: Choices, folder: Path, display: Display, open_one: Open) -> float | None:
    """Bytes of a step that all parties send online, known once a session is over."""
    if row.protocol == EMBEDDED:
        return embedded_online(task)
    options = _options(row.protocol, task, choices)
    together = translate(task.plan, options).pair_tiles
    # The logits are those of one candidate; a batch costs the same when it is not full.
    of_losses, of_logits = (-(-candidates * options.tiles // together) for candidates in (len(task.z), 1))

    def load_alone(logs: Path) -> None:
        with open_one(row.protocol, task, logs, display) as engine:
            engine.load_examples("set", task.batch)

    loads = row.load is not None and row.load.bytes_sent > 0
    steps = len(row.steps) + of_logits / of_losses
    return mpspdz_online(folder, steps, load_alone if loads else None)


def _spent(engine: CountingEngine, command: Callable[[], T]) -> tuple[Spent, T]:
    before, sent = engine.cost(), engine.sent()
    result = command()
    after = engine.cost()
    busiest = max(now - then for now, then in zip(engine.sent(), sent, strict=True))
    bytes_sent, rounds = after.bytes_sent - before.bytes_sent, after.rounds - before.rounds
    return Spent(after.seconds - before.seconds, bytes_sent, busiest, rounds), result


def _difference(got: Floats, expected: Floats) -> float:
    return float(np.abs(got - expected).max())


def _options(protocol: str, task: Task, choices: Choices) -> MpSpdzOptions:
    return options_for(protocol, [len(task.batch)], choices.round_nearest)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise Overdue in the main thread when the time is up."""

    def overdue(*_: object) -> None:
        raise Overdue(f"not done after {seconds:g} s (--timeout)")

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
