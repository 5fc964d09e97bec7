"""What makes few-shot forward-only tuning work: one setting changed at a time, in the clear, tested on held-out rows.

    python benchmarks/run.py explore ag_news|sst2|topics [--variants base,"layer 4",…] [--seeds 3] [--data DIR]
        [--backend dask] [--jobs 4]

Test files are not touched: shots come from the rows that nothing was trained on, and what remains of those rows is the
test (topics: its own three files). Every run is tested with several choices of the final prompt. Rows that
`results/explore.csv` already has are not measured again.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from secfwt.codegen.plan.build import build_plan
from secfwt.runtime.data.splits import Splits
from secfwt.runtime.engine import Floats
from secfwt.runtime.tuning.limits import PARTIES
from secfwt.runtime.tuning.model import Model, load_model
from secfwt.runtime.tuning.objective import Objective, PromptSpace
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.search import CmaSearch
from secfwt.runtime.tuning.session import asdict_sets, embed, load_splits

import rows as common
from accuracy.clear import TorchEngine
from accuracy.methods import SILENT
from accuracy.table import spread
from accuracy.tasks import DATA, TASKS, draw_held_out
from cells import add_cell_options, computed

HELD_OUT = 400
"""Rows that a run is tested on."""
COMMON = {"n_prompt_tokens": 4, "prompt_layer": 5, "intrinsic_dim": 32, "sigma": 0.5, "alpha": 3.0, "loss": "ce"}
BASE: dict[str, dict[str, Any]] = {
    "ag_news": COMMON | {"k_shot": 16, "popsize": 10, "budget": 400, "attention": "softmax", "sequence_length": 32},
    "sst2": COMMON | {"k_shot": 16, "popsize": 10, "budget": 400, "attention": "softmax", "sequence_length": 32},
    "topics": COMMON | {"k_shot": 8, "popsize": 8, "budget": 80, "attention": "rfa", "sequence_length": 21},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "layer 4": {"prompt_layer": 4},
    "layer 3": {"prompt_layer": 3},
    "1 row": {"n_prompt_tokens": 1},
    "10 rows": {"n_prompt_tokens": 10},
    "dimension 8": {"intrinsic_dim": 8},
    "dimension 100": {"intrinsic_dim": 100},
    "scale 1": {"alpha": 1.0},
    "scale 6": {"alpha": 6.0},
    "sigma 1": {"sigma": 1.0},
    "population 20": {"popsize": 20},
    "half the evaluations": {"budget": 0.5},
    "twice the evaluations": {"budget": 2.0},
    "2 restarts": {"restarts": 2},
    "hinge": {"loss": "hinge"},
    "temperature 10": {"temperature": 10.0},
    "temperature 40": {"temperature": 40.0},
    "deep 4 and 5": {"prompt_layer": 4, "deep": True},
    "random features": {"attention": "rfa"},
    "64 tokens": {"sequence_length": 64},
    "labels alone": {"label_texts": ()},
    "4 shots": {"k_shot": 4},
    "4 shots 160 evaluations": {"k_shot": 4, "budget": 160},
    "16 shots 40 evaluations": {"k_shot": 16, "budget": 40},
    "16 shots": {"k_shot": 16},
    "16 shots dimension 8": {"k_shot": 16, "intrinsic_dim": 8},
    "noise 0.01": {"noise": 0.01},
    "noise 0.03": {"noise": 0.03},
    "noise 0.1": {"noise": 0.1},
    "noise 0.3": {"noise": 0.3},
    "about": {
        "label_texts": tuple(f"{x}=This text is about {x}." for x in ("astronomy", "cooking", "gardening", "sailing"))
    },
}
CHOICES = ("start", "best on dev", "last mean", "averaged mean", "averaged mean or start", "best average on dev")
"""Prompts that are tested: z = 0; the lowest dev loss of candidates and means; the search's last mean; the means of the
second half of the generations, averaged; the latter if its dev loss is lower than the start's; the lowest dev loss of
such averages, taken every fourth generation, and of z = 0."""


class Noisy(TorchEngine):
    """Losses with the noise of three parties, as `--noise` opens them; nothing is clipped."""

    def __init__(self, model: Model, deviation: float, seed: int) -> None:
        super().__init__(model)
        self._deviation = sqrt(PARTIES) * deviation
        self._draw = np.random.default_rng(seed)

    def losses(self, name: str, z: Floats) -> Floats:
        """As they are, and noise."""
        return super().losses(name, z) + self._deviation * self._draw.standard_normal(len(z))


def settings_of(task: str, variant: str) -> dict[str, Any]:
    """Base and change; a budget below 4 is a multiple of the base's."""
    texts = {} if task == "topics" else {"label_texts": tuple(f"{k}={v}" for k, v in TASKS[task].label_texts.items())}
    settings = {**BASE[task], **texts, **VARIANTS[variant]}
    if settings["budget"] < 4:
        settings["budget"] = int(settings["budget"] * BASE[task]["budget"])
    return settings


def splits_of(task: str, data: Path, options: TuneOptions) -> Splits:
    """Shots, dev and what is held out."""
    if task == "topics":
        return load_splits(options)
    return draw_held_out(TASKS[task], data, options.k_shot, options.seed, HELD_OUT)


def objective_of(task: str, data: Path, settings: Mapping[str, Any], seed: int) -> tuple[Objective, TuneOptions]:
    """The objective of a run, all sets loaded."""
    temperature = settings.get("temperature")
    given = {name: value for name, value in settings.items() if name not in ("temperature", "restarts", "noise")}
    options = TuneOptions(**given, prototype_shots=0.0, engine="clear", seed=seed)
    splits = splits_of(task, data, options)
    model = load_model(options, splits.labels)
    if temperature:
        chosen = replace(model.options, temperature=temperature)
        model = replace(model, options=chosen, plan=build_plan(model.spec, chosen))
    sets = {name: embed(name, examples, model, options, SILENT) for name, examples in asdict_sets(splits).items()}
    space = PromptSpace(model.plan, options.alpha)
    engine = Noisy(model, settings["noise"], seed) if "noise" in settings else TorchEngine(model)
    objective = Objective(engine, space, "losses", options.loss, options.margin, sets)
    for name in sets:
        objective.load(name)
    return objective, options


def search(objective: Objective, options: TuneOptions, restarts: int = 1) -> dict[str, Floats]:
    """The prompts of `CHOICES`, of one run of CMA-ES or of several that share the budget: means are the last one's."""
    zero = np.zeros(objective.space.dim)
    start = (float(objective.losses("dev", zero[None])[0]), zero)
    points, averages = [start], [start]
    for turn in range(restarts):
        seed = options.seed + 1000 * turn
        cma = CmaSearch(objective.space.dim, popsize=options.popsize, sigma=options.sigma, seed=seed)
        means: list[Floats] = []
        for generation in range(1, options.budget // options.popsize // restarts + 1):
            z = cma.ask()
            losses = objective.losses("train", z)
            cma.tell(z, losses)
            means.append(cma.mean)
            if generation % 4 == 0:
                averaged = np.mean(means[len(means) // 2 :], axis=0)
                contenders = [z[losses.argmin()], cma.mean, averaged]
                dev = list(zip(objective.losses("dev", np.stack(contenders)).tolist(), contenders, strict=True))
                points += dev[:2]
                averages += dev[2:]
    best, best_average = (min(group, key=lambda pair: pair[0])[1] for group in (points, averages))
    last, better = averages[-1][1], averages[-1][0] < start[0]
    return dict(zip(CHOICES, (zero, best, means[-1], last, last if better else zero, best_average), strict=True))


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("task", choices=BASE)
    parser.add_argument("--variants", default="base")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=common.RESULTS / "explore.csv")
    add_cell_options(parser)


def main(given: argparse.Namespace) -> None:
    """Measure what is missing, print a table."""
    there = {(row["task"], row["variant"], row["seed"]) for row in stored(given.out)}
    cells = [
        (given.task, given.data, variant, seed)
        for variant in given.variants.split(",")
        for seed in range(1, given.seeds + 1)
        if (given.task, variant, str(seed)) not in there
    ]
    for _, row in computed(explored, cells, given):
        add(given.out, row | {"commit": common.commit(), "command": common.command()})
    print(table(stored(given.out), given.task))


def explored(task: str, data: Path, variant: str, seed: int) -> dict[str, object]:
    """A row: what every choice of the final prompt reaches under one variant and one seed."""
    began, settings = time.thread_time(), settings_of(task, variant)
    objective, options = objective_of(task, data, settings, seed)
    found = search(objective, options, settings.get("restarts", 1))
    shares = {name: f"{objective.accuracy('test', z):.4f}" for name, z in found.items()}
    return {
        "task": task, "variant": variant, "seed": seed, **shares,
        "test": len(objective.sets["test"].labels), "cpu_seconds": f"{time.thread_time() - began:.1f}",
        "commit": "", "command": "",
        "settings": " ".join(f"{k}={v}" for k, v in settings.items() if k != "label_texts"),
    }  # fmt: skip


def stored(path: Path) -> list[dict[str, str]]:
    """The rows there are."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def add(path: Path, row: Mapping[str, object]) -> None:
    """Append a row."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def table(rows: list[dict[str, str]], task: str) -> str:
    """Markdown: accuracy without tuning, points gained by every choice of the prompt; mean ± deviation over seeds."""
    lines = ["| " + " | ".join(("variant", *CHOICES, "seeds")) + " |", "|---" * (len(CHOICES) + 2) + "|"]
    for variant in [name for name in VARIANTS if any((row["task"], row["variant"]) == (task, name) for row in rows)]:
        group = [row for row in rows if (row["task"], row["variant"]) == (task, variant)]
        gains = [spread([float(row[choice]) - float(row["start"]) for row in group]) for choice in CHOICES[1:]]
        start = spread([float(row["start"]) for row in group])
        lines.append(f"| {variant} | {start} | " + " | ".join(gains) + f" | {len(group)} |")
    return "\n".join(lines)
