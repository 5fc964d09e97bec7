"""What a search on several data owners' examples reaches: 1, 2 or 5 of them with 16 shots each, alike or skewed.

    python benchmarks/run.py owners [--tasks sst2,ag_news] [--arms 0,1,…] [--seeds 1,2] [--data DIR]

In the clear, with the weights and sums of `runtime/federation`: what the parties compute but for fixed point. Rows that
`results/owners.csv` already has are not measured again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from secfwt.codegen.plan.graph import UNION_WEIGHT
from secfwt.runtime.data.examples import Example
from secfwt.runtime.data.splits import Splits
from secfwt.runtime.engine import Batch, Floats
from secfwt.runtime.federation.member import weighted
from secfwt.runtime.tuning.loop import tune
from secfwt.runtime.tuning.model import load_model
from secfwt.runtime.tuning.objective import Objective, PromptSpace
from secfwt.runtime.tuning.run_folder import TuningRun
from secfwt.runtime.tuning.session import embed

from accuracy.clear import TorchEngine
from accuracy.methods import METHODS, SILENT, described, embedded_sets, run_options, scored
from accuracy.run import SETTINGS
from accuracy.table import AccuracyRow, append, read, table
from accuracy.tasks import DATA, TASKS, Task, draw
from cells import add_cell_options, computed
from rows import RESULTS, command, commit

METHOD = METHODS["Black-Box Tuning, softmax"]
MOST = 5
"""Owners of the largest arm: all arms draw from these owners' shots."""


@dataclass(frozen=True)
class Arm:
    """Whose examples a search is on."""

    owners: int
    skewed: bool = False
    """Each owner has as many examples, but of few classes: all in the order of their labels, cut into parts."""
    one: bool = False
    """One owner has them all; of skewed labels one owner's part is all there is."""


ARMS = {
    "1 owner": Arm(1),
    "2 owners": Arm(2),
    "5 owners": Arm(5),
    "1 owner with the examples of 5": Arm(5, one=True),
    "5 owners, skewed labels": Arm(5, skewed=True),
    "1 of 5 owners with skewed labels, alone": Arm(5, skewed=True, one=True),
}


class SumEngine(TorchEngine):
    """Sets of several owners, each under a name of its own: losses are their sum, divided by all examples' weights."""

    def unite(self, name: str, batches: list[Batch]) -> None:
        """Keep these batches, weighted as owners weight them."""
        self._parts = {**getattr(self, "_parts", {}), name: [f"{name} of owner {i}" for i in range(len(batches))]}
        self._weight = {**getattr(self, "_weight", {}), name: UNION_WEIGHT * sum(map(len, batches))}
        for part, batch in zip(self._parts[name], batches, strict=True):
            self.load_examples(part, weighted(batch))

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss over all owners' examples of every candidate, z `[C, d]` -> `[C]`."""
        total = sum((super(SumEngine, self).losses(part, z) for part in self._parts[name]), np.zeros(len(z)))
        return np.asarray(total / self._weight[name])


def parts(examples: list[Example], arm: Arm) -> list[list[Example]]:
    """An arm's examples by owner; there are `MOST` times the shots, class by class."""
    by_label = {label: [e for e in examples if e.label == label] for label in sorted({e.label for e in examples})}
    chosen = [e for same in by_label.values() for e in same[: len(same) * arm.owners // MOST]]
    size = len(chosen) // arm.owners
    if not arm.skewed:  # every owner has as many of every class
        chosen = [e for i in range(arm.owners) for e in chosen[i :: arm.owners]]
    owners = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    if not arm.one:
        return owners
    return owners[:1] if arm.skewed else [chosen]


def measure(task: Task, name: str, seed: int, settings: dict[str, object], data: Path) -> AccuracyRow:
    """One row: draw the shots, give them to owners, search on the sum, test the prompt."""
    began, arm = time.monotonic(), ARMS[name]
    options = run_options(task, METHOD, seed, settings)
    drawn = draw(task, data, MOST * options.k_shot, seed)
    model = load_model(options, drawn.labels)
    engine = SumEngine(model)
    splits = {part: parts(getattr(drawn, part), arm) for part in ("train", "dev")}
    for part, owners in splits.items():
        engine.unite(part, [embed(part, examples, model, options, SILENT).batch for examples in owners])
    with TemporaryDirectory(prefix="secfwt-owners-") as folder:
        run = TuningRun.create(Path(folder) / "run", options.to_json(), {})
        space = PromptSpace(model.plan, options.alpha)
        objective = Objective(engine, space, "losses", options.loss, options.margin, {})
        found = tune(objective, options.search(space.dim), run, SILENT)
        run.close()
    sets = embedded_sets(Splits([], [], drawn.test), model, options)
    engine.load_examples("test", sets["test"].batch)
    scores = scored(task, engine.logits("test", space.coordinates(found.best_z)), sets["test"])
    return AccuracyRow(
        task=task.name, method=name, seed=seed, settings=described(task, settings), adapter="", shots=options.k_shot,
        evaluations=found.evaluations, start_loss=found.start_loss, best_loss=found.best_loss,
        start_dev=found.start_dev, best_dev=found.best_dev, **scores,
        seconds=time.monotonic() - began, megabytes=0.0, commit="", command="",
    )  # fmt: skip


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--tasks", default="sst2,ag_news")
    parser.add_argument("--arms", default=",".join(map(str, range(len(ARMS)))), help="; ".join(_numbered()))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--budget", type=int, help="evaluations of a search; default: 400")
    parser.add_argument("--out", type=Path, default=RESULTS / "owners.csv")
    add_cell_options(parser)


def main(options: argparse.Namespace) -> None:
    """Measure what is missing, print the table."""
    names = [list(ARMS)[int(i)] for i in options.arms.split(",")]
    tasks, seeds = [TASKS[name] for name in options.tasks.split(",")], map(int, options.seeds.split(","))
    settings = SETTINGS | ({"budget": options.budget} if options.budget else {})
    there = {row.key for row in read(options.out)}
    cells = []
    for seed, task, name in product(seeds, tasks, names):
        if (task.name, name, seed, described(task, settings), "", task.tested) not in there:
            cells.append((task, name, seed, settings, options.data))
    for _, row in computed(measure, cells, options):
        append(options.out, replace(row, commit=commit(), command=command()))
        print(f"{row.task}, {row.method}, seed {row.seed}: {row.accuracy:.1%} of {row.tested}", flush=True)
    print(table(read(options.out), list(ARMS)))


def _numbered() -> list[str]:
    return [f"{i}: {name}" for i, name in enumerate(ARMS)]
