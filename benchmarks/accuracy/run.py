"""What private prompt tuning reaches: few-shot test accuracy of several methods on the same shots and the same model.

    python benchmarks/run.py accuracy [--tasks ag_news,sst2] [--methods …] [--seeds 1,2] [--data DIR]
        [--tested 100] [--backend dask] [--jobs 4]

Rows that `results/accuracy.csv` already has are not measured again, so that a run can be continued. The settings are
tune.py's names; their defaults here come from docs/accuracy.md.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from secfwt.runtime.errors import SecfwtError

from accuracy.methods import METHODS, OPENED, adapter_hash, described, measure, serves
from accuracy.table import append, figure, read, table
from accuracy.tasks import DATA, TASKS, Task
from cells import add_cell_options, computed
from rows import FIGURES, RESULTS, command, commit

FIGURE = FIGURES / "accuracy.png"
SETTINGS = {
    "k_shot": 16, "n_prompt_tokens": 4, "prompt_layer": 5, "intrinsic_dim": 32, "popsize": 10, "budget": 400,
    "sigma": 0.5, "alpha": 3.0, "loss": "ce", "eval_every": 4,
}  # fmt: skip


def planned(names: list[str], tasks: list[Task], seeds: list[int]) -> list[tuple[Task, str, int]]:
    """Runs in the order they are made; without a search every seed would be the same. Those of shots that share a model
    and a test set come one after the other, at the end: these are loaded once."""
    runs = [
        (task, name, seed) for seed in seeds for task in tasks for name in names
        if serves(METHODS[name], task) and (METHODS[name].shots or METHODS[name].search != "none" or seed == 1)
    ]  # fmt: skip
    alone = [run for run in runs if not METHODS[run[1]].shots_alone]
    sharing = [run for run in runs if METHODS[run[1]].shots_alone]
    return alone + sorted(sharing, key=lambda run: (tasks.index(run[0]), names.index(run[1])))


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--tasks", default=",".join(name for name, task in TASKS.items() if not task.f1_of))
    quick = ",".join(str(i) for i, method in enumerate(METHODS.values()) if method.engine != "parties")
    parser.add_argument("--methods", default=quick, help=numbered())
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--budget", type=int, help="evaluations of a search; default: the task's")
    parser.add_argument("--tested", type=int, help="of the dev file's rows; default: the task's")
    parser.add_argument("--out", type=Path, default=RESULTS / "accuracy.csv")
    parser.add_argument(
        "--report", action="store_true", help="no measurements: the table, and the figure of docs/accuracy.md"
    )
    add_cell_options(parser)


def main(options: argparse.Namespace) -> None:
    """Measure what is missing and print the table, of these tasks; or draw their figure as well."""
    names = [list(METHODS)[int(i)] for i in options.methods.split(",")]
    if options.jobs > 1 and any(METHODS[name].engine == "parties" for name in names):
        raise SecfwtError(f"--jobs is {options.jobs}: parties take all cores, measure these methods with --jobs 1")
    tasks, seeds = [TASKS[t] for t in options.tasks.split(",")], [int(seed) for seed in options.seeds.split(",")]
    if options.tested:
        tasks = [replace(task, tested=options.tested) for task in tasks]
    given = {"budget": options.budget} if options.budget else {}
    settings_of = {task.name: SETTINGS | task.settings | given for task in tasks}
    there = {row.key for row in read(options.out)}
    cells = []
    for task, name, seed in planned(names, tasks, seeds):
        settings = settings_of[task.name]
        key = task.name, name, seed, described(task, settings), adapter_hash(METHODS[name]), task.tested
        if not options.report and key not in there:
            cells.append((task, name, seed, settings, options.data))
    with closing(OPENED):
        for _, row in computed(measure, cells, options):
            append(options.out, replace(row, commit=commit(), command=command()))
            print(
                f"{row.task}, {row.method}, seed {row.seed}: {row.accuracy:.1%} of {row.tested}, {row.seconds:.0f} s",
                flush=True,
            )
    rows = [row for row in read(options.out) if row.settings in {described(t, settings_of[t.name]) for t in tasks}]
    rows.sort(key=lambda row: (row.seed, [task.name for task in TASKS.values()].index(row.task)))
    print(table(rows, list(METHODS)))
    if options.report:
        figure(rows, list(METHODS), FIGURE)


def numbered() -> str:
    """The methods by number."""
    return "; ".join(f"{i}: {name}" for i, name in enumerate(METHODS))
