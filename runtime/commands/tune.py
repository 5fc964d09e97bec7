"""The command line of `tune.py`: options in, exit codes out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.ending import exit_codes
from ...codegen.commandline.options import RUN, Option
from ...codegen.commandline.problems import Problem, ProblemsFound
from ..data.presets import PresetName
from ..tuning.options import TuneOptions, bundle_options, resumed_options


@dataclass(frozen=True)
class Run:
    """Where a run is kept."""

    run: Annotated[Path | None, Option("Run folder.", RUN, metavar="DIR", default="runs/<time>")] = None
    preset: Annotated[
        PresetName | None,
        Option(
            "How much a run takes, where you do not say: length, shots, budget, test set.",
            RUN, default="standard with --data, else demo",
        ),
    ] = None  # fmt: skip
    resume: Annotated[Path | None, Option("Continue the run in this folder.", RUN, metavar="DIR")] = None


@dataclass
class Where:
    """The run folder, as soon as there is one: what a message about an interrupted run needs."""

    folder: Path | None = None

    def advice(self) -> str:
        """How to go on."""
        return f"continue with: tune.py --resume {self.folder}" if self.folder else ""


COMMAND = Command(
    "secfwt-tune",
    (TuneOptions, Run),
    "Tune a prompt with forward passes only: neither the data nor the model is shown to anyone.\n\n"
    "Opened to the data owner: one loss per candidate (or its logits, --reveal), and at the end the logits of\n"
    "the test set without tuning and with the best prompt. Without options: MiniLM on the topic examples of\n"
    "the project, three local parties, less than a minute.",
    "secfwt-tune --model DIR --data train.jsonl --k-shot 16 --budget 400",
)


def tune_command(typed: Typed) -> None:
    """Run, or continue a run."""
    where, folders, given = Where(), typed.make(Run), typed.of(TuneOptions)
    with exit_codes(where.advice):
        if sys.flags.optimize > 1:
            advice = "pycma, which searches, reads its docstrings when it starts: unset it, or set it to 1."
            raise ProblemsFound([Problem("error", f"PYTHONOPTIMIZE is {sys.flags.optimize}", advice)])
        if folders.resume and folders.run:
            raise ProblemsFound([Problem("error", "--run and --resume are given", "Choose one.")])
        options, preset = _options(given, folders)

        from rich.console import Console

        from ..federation.coordinating import coordinate, coordinates
        from ..tuning.session import run_session

        def began(folder: Path) -> None:
            where.folder = folder

        console = Console(highlight=False)
        if preset:
            console.print(f"preset   {preset}", markup=False, soft_wrap=True)
        run = coordinate if coordinates(options) else run_session
        run(options, folders.resume or folders.run, folders.resume is not None, console, began)


def _options(given: dict[str, object], folders: Run) -> tuple[TuneOptions, str]:
    """Those of the run that is continued, of the bundle that is used, or what was typed; and what a preset chose."""
    if folders.resume:
        from ..tuning.run_folder import TuningRun

        return resumed_options(TuningRun.read_options(folders.resume)[0], given), ""
    if bundle := given.get("bundle"):
        from ...codegen.bundle import program_mp_spdz, program_options

        folder = Path(str(bundle))
        of_mp_spdz = program_mp_spdz(folder) if given.get("engine") == "mp-spdz" else None
        return bundle_options(given, program_options(folder), of_mp_spdz), ""
    from ..tuning.session import own_options

    return own_options(given, folders.preset or ("standard" if given.get("data") else "demo"))


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    COMMAND.run(tune_command, words)
