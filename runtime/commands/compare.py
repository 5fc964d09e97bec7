"""The command line of `compare.py`: a model and protocols in, a table out."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ...codegen.commandline.problems import ProblemsFound
from ..comparison.measure import Choices, Open, Row, measure, open_engine
from ..comparison.protocols import EMBEDDED, PROMISES
from ..comparison.report import show, write_csv, write_figure
from ..comparison.task import Size, Task, make_task
from ..errors import SecfwtError
from ..mpspdz.installation import MpSpdzError, find
from ..progress import PlainDisplay

SIZE, CHOICES = Size(), Choices()
PLAIN_WIDTH = 1000
"""Where there is no terminal nothing is folded."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


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


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(help="config.json (random weights of that shape) or a model directory.")],
    protocols: Annotated[
        str, typer.Option(help=f"Some of {','.join(PROMISES)}; all: embedded, and what MP-SPDZ has here.")
    ] = "all",
    tokens: Annotated[int, typer.Option("--tokens", "--sequence-length", help="Of an example.")] = SIZE.tokens,
    candidates: Annotated[int, typer.Option(help="Prompts that a step evaluates.")] = SIZE.candidates,
    examples: Annotated[int, typer.Option(help="Examples that every one is evaluated on.")] = SIZE.examples,
    layers: Annotated[int, typer.Option(help="Lowest layers to run; 0: all.")] = SIZE.layers,
    prompt_layer: Annotated[int, typer.Option(help="Layer whose input gets the prompt.")] = SIZE.prompt_layer,
    runs: Annotated[int, typer.Option(help="Runs of the step; seconds are their median.")] = CHOICES.runs,
    timeout: Annotated[float, typer.Option(help="Seconds that one protocol may take in all.")] = CHOICES.seconds,
    tolerance: Annotated[float, typer.Option(help="Largest error of a right result.")] = CHOICES.error,
    round_nearest: Annotated[bool, typer.Option("--round-nearest", help="MP-SPDZ: exact rounding, slower.")] = False,
    seed: Annotated[int, typer.Option(help="Of weights and inputs.")] = SIZE.seed,
    mp_spdz: Annotated[
        str, typer.Option(help="Folder of MP-SPDZ. Default: MP_SPDZ_HOME, ~/MP-SPDZ, /opt/MP-SPDZ.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for results. Default: runs/compare-<time>.")] = None,
) -> None:
    """Run one step of prompt tuning under several protocols, on local parties, and compare time, traffic and error.

    Writes comparison.csv, comparison.png and the parties' logs. Exit code 0 when at least one protocol succeeded, 1
    when none did, 2 for options and models that are refused, 130 for an interruption, which keeps what is done.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    before: Any = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        choices = Choices(runs, timeout, tolerance, round_nearest)
        size = Size(tokens, candidates, examples, layers, prompt_layer, seed)
        check(size, choices)
        chosen = select(protocols, mp_spdz)
        task = make_task(model, size)
        folder = _writable(out or Path("runs") / time.strftime("compare-%Y%m%d-%H%M%S"))
        code = run(task, chosen, choices, folder, console, open_engine(mp_spdz, choices))
    except ProblemsFound as problems:
        print(problems, file=sys.stderr)
        raise typer.Exit(2) from None
    except SecfwtError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    raise typer.Exit(code)


def check(size: Size, choices: Choices) -> None:
    """Raise CompareError with everything that is out of range."""
    at_least: dict[str, tuple[Any, int]] = {
        "--tokens": (size.tokens, 3), "--candidates": (size.candidates, 1), "--examples": (size.examples, 1),
        "--layers": (size.layers, 0), "--prompt-layer": (size.prompt_layer, 0), "--seed": (size.seed, 0),
        "--runs": (choices.runs, 1),
    }  # fmt: skip
    found = [f"{flag} is {value}: it must be at least {low}" for flag, (value, low) in at_least.items() if value < low]
    positive = {"--timeout": choices.seconds, "--tolerance": choices.error}
    found += [f"{flag} is {value:g}: it must be positive" for flag, value in positive.items() if not value > 0]
    if found:
        raise CompareError("\n".join(found))


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
    unknown = [name for name in names if name not in PROMISES]
    if unknown or not names:
        named = f"names {', '.join(unknown)}" if unknown else "is empty"
        raise CompareError(f"--protocols {named}: accepted are {', '.join(PROMISES)}, and all")
    return names


def run(task: Task, protocols: Sequence[str], choices: Choices, folder: Path, console: Console, open_one: Open) -> int:
    """Measure one protocol after the other, show and write what there is, however it ends; returns the exit code."""
    spec, rows, code = task.spec, list[Row](), 1
    title = (
        f"{task.name}: {spec.hidden_size}/{spec.num_attention_heads}/{spec.intermediate_size} "
        f"x{spec.num_hidden_layers}, prompt at layer {task.options.prompt_layer}, "
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
            write_csv(rows, folder / "comparison.csv")
        code = 0 if any(not row.failure for row in rows) else 1
    except KeyboardInterrupt:
        console.print("interrupted: these are the protocols that were done", markup=False)
        code = 130
    if rows:
        show(rows, console)
        write_figure(rows, title, folder / "comparison.png")
        console.print(f"files: {folder}: comparison.csv, comparison.png", markup=False, soft_wrap=True)
    return code


def _done(row: Row) -> str:
    step = row.step
    assert step is not None
    return (
        f"started in {row.start_seconds:.3g} s; a step: {step.seconds:.3g} s, {step.rounds:.0f} rounds, "
        f"{step.bytes_sent / 1e6:.3g} MB ({step.busiest_bytes / 1e6:.3g} by one party)"
    )


def _spinner(console: Console, protocol: str) -> AbstractContextManager[object]:
    return console.status(protocol) if console.is_terminal else nullcontext()


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompareError(f"--out: cannot write to {folder}: {error.strerror}; give a folder") from None
    return folder


def main() -> None:
    """Run the command."""
    app(prog_name="compare.py" if sys.argv[0].endswith("compare.py") else None)
