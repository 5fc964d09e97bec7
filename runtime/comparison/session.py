"""A comparison from options to results: one protocol after the other, shown and kept as they are done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from rich.console import Console

from ...codegen.native.binaries import BinaryMissing
from ...codegen.native.rate import measure as rate
from ..errors import SecfwtError
from ..mpspdz.installation import MpSpdzError, find
from ..progress import PlainDisplay
from ..run_folder import RUNS, new_folder
from .measure import Open, Row, measure, open_engine
from .options import EMBEDDED, NAMES, Choices, Comparison, Size
from .report import show, write_csv, write_figure
from .rounds import lines, step_costs
from .task import Task, make_task

PLAIN_WIDTH = 1000
"""Where there is no terminal nothing is folded."""


class CompareError(SecfwtError):
    """Options out of range, protocols that there are not, or no folder to write to."""


class Notes(PlainDisplay):
    """Lines that begin with the protocol they are about."""

    def __init__(self, console: Console, protocol: str) -> None:
        super().__init__(console)
        self._protocol = protocol

    def note(self, text: str) -> None:
        """Print a line."""
        super().note(f"{self._protocol:<12} {text}")


def compare(comparison: Comparison, size: Size, choices: Choices) -> int:
    """Measure what was asked for; returns the exit code. Raises ProblemsFound, CompareError, MpSpdzError, TaskError."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    chosen = select(comparison.protocols, comparison.mp_spdz)
    task = make_task(comparison.model, size)
    folder = _writable(comparison.out)
    return run(task, chosen, choices, folder, console, open_engine(comparison.mp_spdz, choices))


def select(protocols: str, mp_spdz: str) -> list[str]:
    """The protocols to run, each once, in the order given; raises CompareError naming the known ones."""
    if protocols == "all":
        try:
            return [EMBEDDED, *find(mp_spdz or None).protocols]
        except MpSpdzError:
            if mp_spdz:
                raise
            return [EMBEDDED]
    names = list(dict.fromkeys(name.strip() for name in protocols.split(",") if name.strip()))
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        named = f"names {', '.join(unknown)}" if unknown else "is empty"
        raise CompareError(f"--protocols {named}: accepted are {', '.join(NAMES)}, and all")
    return names


def run(task: Task, protocols: Sequence[str], choices: Choices, folder: Path, console: Console, open_one: Open) -> int:
    """Measure one protocol after the other, show and write what there is, however it ends; returns the exit code."""
    spec, rows, code = task.spec, list[Row](), 1
    title = (
        f"{task.name}: {spec.hidden_size}/{spec.num_attention_heads}/{spec.intermediate_size} "
        f"x{spec.num_hidden_layers}, {task.options.attention}, prompt at layer {task.options.prompt_layer}, "
        f"{task.options.sequence_length} tokens, {len(task.z)} candidates x {len(task.batch)} examples"
    )
    console.print(title, markup=False, soft_wrap=True)
    try:
        for i, protocol in enumerate(protocols, 1):
            display = Notes(console, protocol)
            display.note(f"{i} of {len(protocols)}")
            with _spinner(console, protocol):
                row = measure(protocol, task, choices, folder / protocol, display, open_one)
            display.note(f"failed: {row.failure}" if row.failure else _done(row))
            rows.append(row)
            with _writing(folder):
                write_csv(rows, folder / "comparison.csv")
        code = 0 if any(not row.failure for row in rows) else 1
    except KeyboardInterrupt:
        console.print("interrupted: these are the protocols that were done", markup=False)
        code = 130
    if rows:
        show(rows, console)
        if EMBEDDED in protocols:
            _show_rounds(task, console)
        with _writing(folder):
            write_figure(rows, title, folder / "comparison.png")
        console.print(f"files: {folder}: comparison.csv, comparison.png", markup=False, soft_wrap=True)
    return code


def _show_rounds(task: Task, console: Console) -> None:
    """Nothing where the embedded engine is missing: its row says so."""
    with suppress(BinaryMissing):
        for line in lines(step_costs(task), rate()):
            console.print(line, markup=False, soft_wrap=True)


def _done(row: Row) -> str:
    step = row.step
    assert step is not None
    return (
        f"started in {row.start_seconds:.3g} s; a step: {step.seconds:.3g} s, {step.rounds:.0f} rounds, "
        f"{step.bytes_sent / 1e6:.3g} MB ({step.busiest_bytes / 1e6:.3g} by one party)"
    )


def _spinner(console: Console, protocol: str) -> AbstractContextManager[object]:
    return console.status(protocol) if console.is_terminal else nullcontext()


def _writable(given: Path | None) -> Path:
    with _writing(given or RUNS):
        if given is None:
            return new_folder("compare-")
        given.mkdir(parents=True, exist_ok=True)
        return given


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise CompareError(f"--out: cannot write to {folder}: {reason}; give another folder") from None
