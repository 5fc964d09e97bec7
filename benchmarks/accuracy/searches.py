"""What a search adds to prototypes of shots, in the clear: one way of searching changed at a time.

    python benchmarks/run.py searches ag_news|sst2 [--variants base,"moving folds",…] [--draws 8] [--data DIR]

Draws are those of `run.py prototypes`, and so are the rows: 16 shots per label to train and 16 for dev, tests on rows
that were not drawn. The layers below the prompt are computed once. Every run is tested with several choices of the
final prompt (`CHOICES`); prototypes are then made of all shots, dev's too. Rows that `results/searches.csv` already has
are not measured again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from secfwt.codegen.plan.build import build_plan
from secfwt.runtime.engine import Floats
from secfwt.runtime.tuning.model import load_model
from secfwt.runtime.tuning.objective import Ints, PromptSpace, likely_weight, tried_weights
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.session import embed

import rows as common
from accuracy.clear import TorchEngine
from accuracy.explore import add, stored
from accuracy.methods import SILENT
from accuracy.prototypes import POOL, TEMPERATURE, drawn, unit
from accuracy.table import spread
from accuracy.tasks import DATA, TASKS, Task, pool
from cells import add_cell_options, computed

SHOTS, TESTED, MOST = 16, 400, 4.0
PUBLIC = 64
"""Examples per label that a warm start is tuned on."""
CHECKPOINTS = (50, 100, 400)
"""Evaluations after which prompts are tested."""
SETTINGS: dict[str, Any] = {"n_prompt_tokens": 4, "prompt_layer": 5, "alpha": 3.0, "sequence_length": 32}
SIGMA, POPULATION, EVERY = 0.5, 10, 4
"""First step size; candidates of a generation; generations between evaluations on dev."""


@dataclass(frozen=True)
class Variant:
    """A way of searching."""

    shots: bool = True
    """Whether shots take part in prototypes; else label texts alone, as in docs/accuracy.md's first searches."""
    loss: Literal["left out", "seen", "folds"] = "left out"
    """Prototypes that a training shot meets: of the others; of all of them; dev's, and dev's shots meet training's."""
    moving: bool = False
    """Whether prototypes are made under the candidate's prompt, not under none; of `folds`."""
    bias: bool = False
    """A number per label to add to logits is searched too."""
    temperature: bool = False
    weight: bool = False
    """What shots weigh in each label's prototype is searched too."""
    dim: int = 32
    diagonal: bool = False
    """Separable CMA-ES (Ros and Hansen 2008)."""
    racing: bool = False
    """Twice the candidates, on a quarter of the shots; the best quarter of them again on all: as many pairs."""
    restarts: int = 1
    warm: bool = False
    """Whether the search begins from a prompt that was tuned on 64 examples per label of the other task."""


VARIANTS = {
    "base": Variant(),
    "texts alone": Variant(shots=False),
    "seen": Variant(loss="seen"),
    "folds": Variant(loss="folds"),
    "moving folds": Variant(loss="folds", moving=True),
    "weight per label": Variant(weight=True),
    "bias": Variant(bias=True),
    "temperature": Variant(temperature=True),
    "racing": Variant(racing=True),
    "2 restarts": Variant(restarts=2),
    "dimension 200": Variant(dim=200),
    "separable 200": Variant(dim=200, diagonal=True),
    "warm start": Variant(warm=True),
}
CHOICES = ("start", "lowest dev loss", "beyond 1 error", "beyond 2 errors", "last mean", "averaged mean")
"""Prompts that are tested: none; the one with the lowest dev loss, none among them; that one if its dev loss is lower
than none's by more than one, or two, standard errors of the difference; the search's last mean; the means of the second
half of the generations, averaged."""


class Shots:
    """Losses of candidates on one draw: sets `train`, `dev` and `test` of an engine, and their labels."""

    def __init__(self, engine: TorchEngine, labels: Mapping[str, Ints], variant: Variant, space: PromptSpace) -> None:
        self.engine, self.labels, self.variant, self.space = engine, labels, variant, space
        self.texts = engine.prototypes.double().numpy()
        zero = np.zeros((1, space.dim))
        self.plain = {name: self.rows(name, zero)[0] for name in ("train", "dev")}
        self.means = {name: self._means(rows, labels[name]) for name, rows in self.plain.items()}
        weights = tried_weights(len(labels["train"]) // len(self.texts), MOST)
        prototypes = unit(self.texts + weights[:, None, None] * self.means["train"])
        told = losses(TEMPERATURE * self.plain["dev"] @ prototypes.mT, labels["dev"]).sum(axis=-1)
        self.shot_weight = likely_weight(weights, told) if variant.shots else 0.0

    def _means(self, rows: Floats, labels: Ints) -> Floats:
        """`[…, L, h]` of rows `[…, E, h]`."""
        return np.stack([rows[..., labels == label, :].mean(axis=-2) for label in range(len(self.texts))], -2)

    def rows(self, name: str, z: Floats) -> Floats:
        """Embeddings of a set under candidates, `[C, E, h]`."""
        with torch.no_grad():
            sent = torch.from_numpy(self.space.coordinates(z)).float()
            return self.engine.embeddings(name, sent).double().numpy()

    @property
    def dim(self) -> int:
        """Numbers that are searched."""
        v, labels = self.variant, len(self.texts)
        return self.space.dim + labels * v.bias + v.temperature + labels * v.weight

    def _parts(self, z: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Prompts' z; per candidate a bias `[C, 1, L]`, a factor of the logits `[C, 1, 1]`, weights `[C, L, 1]`."""
        v, labels, d = self.variant, len(self.texts), self.space.dim
        bias, factor = np.zeros((len(z), 1, labels)), np.ones((len(z), 1, 1))
        weights = np.full((len(z), labels, 1), self.shot_weight)
        if v.bias:
            bias = z[:, None, d : d + labels]
        if v.temperature:
            factor = np.exp(z[:, -1])[:, None, None]
        if v.weight:
            weights = weights * np.exp(z[:, -labels:, None])
        return z[:, :d], bias, factor, weights

    def losses(self, of: str, z: Floats, means: Floats, part: slice = slice(None), out: bool = False) -> Floats:
        """Cross entropies `[C, E]` of a set, or of a `part` of it, under prototypes with these means `[(C,) L, h]`;
        `out`: each shot left out of its own label's mean."""
        prompts, bias, factor, weights = self._parts(z)
        rows, labels = self.rows(of, prompts)[:, part], self.labels[of][part]
        logits = rows @ unit(self.texts + weights * means).mT
        if out:
            n = (len(self.labels[of])) // len(self.texts)
            others = (n * means[labels] - self.plain[of][part]) / (n - 1)
            own = (rows * unit(self.texts[labels] + weights[:, labels] * others)).sum(axis=-1)
            logits[:, np.arange(len(labels)), labels] = own
        return losses(TEMPERATURE * factor * logits + bias, labels)

    def training(self, z: Floats, part: slice = slice(None)) -> Floats:
        """Training losses of candidates, `[C]`."""
        v = self.variant
        if v.loss != "folds":
            return self.losses("train", z, self.means["train"], part, v.loss == "left out").mean(axis=-1)
        return self.dev(z).mean(axis=-1)

    def dev(self, z: Floats) -> Floats:
        """Losses that choose, of every example, `[C, E]`."""
        if self.variant.loss != "folds":
            return self.losses("dev", z, self.means["train"])
        means = self.means
        if self.variant.moving:
            means = {name: self._means(self.rows(name, self._parts(z)[0]), self.labels[name]) for name in means}
        return np.concatenate([self.losses("dev", z, means["train"]), self.losses("train", z, means["dev"])], -1)

    def accuracies(self, found: Sequence[Floats]) -> dict[bytes, float]:
        """`accuracy` of every prompt, by its bytes; many are the same."""
        return {key: self.accuracy(z) for key, z in {z.tobytes(): z for z in found}.items()}

    def accuracy(self, z: Floats) -> float:
        """Of the test rows, with prototypes of all shots."""
        prompts, bias, factor, weights = self._parts(z[None])
        means = np.mean(list(self.means.values()), axis=0)
        if self.variant.moving:
            means = np.mean([self._means(self.rows(name, prompts)[0], self.labels[name]) for name in self.means], 0)
        logits = TEMPERATURE * factor * (self.rows("test", prompts) @ unit(self.texts + weights * means).mT) + bias
        return float(np.mean(logits[0].argmax(axis=-1) == self.labels["test"]))


def losses(logits: Floats, labels: Ints) -> Floats:
    """Cross entropies `[…, E]` of logits `[…, E, L]`."""
    top = logits.max(axis=-1)
    right = logits[..., np.arange(len(labels)), labels]
    return np.asarray(np.log(np.exp(logits - top[..., None]).sum(axis=-1)) + top - right)


def strategy(dim: int, variant: Variant, popsize: int, seed: int) -> Any:
    """CMA-ES as tune.py runs it, or its separable form."""
    import cma

    options = {
        "popsize": popsize, "randn": np.random.RandomState(seed).randn, "seed": np.nan, "verbose": -9, "verb_log": 0,
        "CMA_diagonal": variant.diagonal,
    }  # fmt: skip
    return cma.CMAEvolutionStrategy(np.zeros(dim), SIGMA, options)


def raced(shots: Shots, z: Floats) -> Floats:
    """Losses whose order counts: of a quarter of the shots, and of all for the best quarter, which stay in front."""
    few = shots.training(z, slice(None, None, 4))
    order = few.argsort()
    best = order[: len(z) // 4]
    ranked = np.empty(len(z))
    full = shots.training(z[best])
    ranked[best] = full
    ranked[order[len(best) :]] = full.max() + 1 + np.arange(len(z) - len(best))
    return ranked


def search(shots: Shots, seed: int, start: Floats) -> Iterator[tuple[int, dict[str, Floats]]]:
    """After so many evaluations, the prompts of `CHOICES`."""
    v = shots.variant
    popsize = POPULATION * (1 + v.racing)
    contenders, dev = [start * 0], [shots.dev(start[None] * 0)[0]]
    done = 0
    for turn in range(v.restarts):
        cma = strategy(shots.dim, v, popsize, seed + 1000 * turn)
        means: list[Floats] = []
        for generation in range(1, CHECKPOINTS[-1] // POPULATION // v.restarts + 1):
            z = np.array(cma.ask())
            told = raced(shots, start + z) if v.racing else shots.training(start + z)
            cma.tell(list(z), told.tolist())
            means.append(start + cma.result.xfavorite)
            done += POPULATION
            if generation % EVERY == 0 or done in CHECKPOINTS:
                asked = np.stack([start + z[told.argmin()], means[-1]])
                contenders += list(asked)
                dev += list(shots.dev(asked))
            if done in CHECKPOINTS:
                yield done, dict(zip(CHOICES, chosen(contenders, dev, means), strict=True))


def chosen(contenders: list[Floats], dev: list[Floats], means: list[Floats]) -> tuple[Floats, ...]:
    """The prompts of `CHOICES`, of contenders with dev's losses `[E]`, none first, and of the search's means."""
    best = int(np.mean(dev, axis=-1).argmin())
    gain = dev[0] - dev[best]
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    kept = (contenders[best] if gain.mean() > beyond * error else contenders[0] for beyond in (1, 2))
    averaged = np.asarray(np.mean(means[len(means) // 2 :], axis=0))
    return (contenders[0], contenders[best], *kept, means[-1], averaged)


class Pool:
    """A task's rows, computed up to the prompt's layer once."""

    def __init__(self, task: Task, data: Path, **settings: Any) -> None:
        texts = tuple(f"{label}={text}" for label, text in task.label_texts.items())
        options = TuneOptions(label_texts=texts, engine="clear", prototype_shots=0.0, **settings)
        self._alpha, self._model = options.alpha, load_model(options, task.labels)
        examples = embed("pool", pool(task, data)[:POOL], self._model, options, SILENT)
        self.labels = examples.labels
        self._whole = TorchEngine(self._model).compute(examples.batch)

    def shots(self, variant: Variant, seed: int, count: int = SHOTS) -> Shots:
        """One draw."""
        options = replace(self._model.options, seed=seed, intrinsic_dim=variant.dim)
        model = replace(self._model, options=options, plan=build_plan(self._model.spec, options))
        engine = TorchEngine(model)
        parts = dict(zip(("train", "dev", "test"), drawn(self.labels, count, seed), strict=True))
        parts["test"] = np.random.default_rng(seed).permutation(parts["test"])[:TESTED]
        for name, rows in parts.items():
            engine.take(name, self._whole, rows)
        labels = {name: self.labels[rows] for name, rows in parts.items()}
        return Shots(engine, labels, variant, PromptSpace(model.plan, self._alpha))


def begin(shots: Shots, seed: int, other: Callable[[], Pool]) -> Floats:
    """Where the search begins: at no prompt, or at one that was tuned on another task's rows."""
    start = np.zeros(shots.dim)
    if shots.variant.warm:
        plain = Variant()
        *_, (_, found_there) = search(other().shots(plain, seed, count=PUBLIC), seed, np.zeros(plain.dim))
        found = found_there["last mean"]
        start[: len(found)] = found
    return start


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("task", choices=("ag_news", "sst2"))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--attention", choices=("softmax", "rfa"), default="softmax")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=common.RESULTS / "searches.csv")
    add_cell_options(parser)


def main(given: argparse.Namespace) -> None:
    """Measure what is missing, print a table."""
    there = {row_key(row) for row in stored(given.out)}
    wanted = [
        (given.task, given.attention, name, str(seed))
        for seed in range(1, given.draws + 1)
        for name in given.variants.split(",")
    ]
    for _, rows in computed(searched, [(given.data, key) for key in wanted if key not in there], given):
        for row in rows:
            add(given.out, row | {"commit": common.commit(), "command": common.command()})
    print(table([row for row in stored(given.out) if row["task"] == given.task]))


def searched(data: Path, key: tuple[str, ...]) -> list[dict[str, object]]:
    """The rows of one variant and one draw, a row for each of `CHECKPOINTS`."""
    task, attention, name, seed = key
    shots = pool_of(task, data, attention).shots(VARIANTS[name], int(seed))
    other = "sst2" if task == "ag_news" else "ag_news"
    began = time.thread_time()
    start = begin(shots, int(seed), lambda: pool_of(other, data, attention))
    found = list(search(shots, int(seed), start))
    shares = shots.accuracies([z for _, choices in found for z in choices.values()])
    return [
        dict(zip(KEYS, key, strict=True))
        | {"evaluations": done, "weight": f"{shots.shot_weight:.3f}"}
        | {choice: f"{shares[z.tobytes()]:.4f}" for choice, z in choices.items()}
        | {"tested": len(shots.labels["test"]), "cpu_seconds": f"{time.thread_time() - began:.1f}"}
        for done, choices in found
    ]


@cache
def pool_of(task: str, data: Path, attention: str) -> Pool:
    """A task's rows in this process."""
    return Pool(TASKS[task], data, attention=attention, **SETTINGS)


KEYS = ("task", "attention", "variant", "draw")


def row_key(row: Mapping[str, str]) -> tuple[str, ...]:
    """What makes it the same run."""
    return tuple(row[name] for name in KEYS)


def table(rows: list[dict[str, str]]) -> str:
    """Markdown: accuracy of shots without a prompt, points gained by every choice of one; mean ± deviation."""
    heads = ("variant", "evaluations", *CHOICES, "draws")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for which in dict.fromkeys((row["variant"], row["evaluations"]) for row in rows):
        group = [row for row in rows if (row["variant"], row["evaluations"]) == which]
        gains = [spread([float(row[choice]) - float(row["start"]) for row in group]) for choice in CHOICES[1:]]
        start = spread([float(row["start"]) for row in group])
        lines.append(f"| {' | '.join(which)} | {start} | " + " | ".join(gains) + f" | {len(group)} |")
    return "\n".join(lines)
