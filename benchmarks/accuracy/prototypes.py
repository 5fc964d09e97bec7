"""What labelled shots are worth without a search, against other uses of the same embeddings: as prototypes, P = t + λm,
scaled to unit length, for a label's text t and its shots' mean m; or beside a language model's label words
(docs/program.md, "Shots").

    python benchmarks/run.py prototypes ag_news|sst2|mrpc [--attention rfa] [--shots 2,4,8,16,32] [--draws 16] [--test]
    python benchmarks/run.py prototypes smollm2_ag_news|smollm2_sst2 …

Every text is embedded once, in the clear; a draw then takes milliseconds. Tests are on rows that were not drawn, of
those that nothing was trained on; with `--test` on the test rows of docs/accuracy.md, which choose nothing. Rows that
`results/prototypes.csv` already has are not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from joblib import cpu_count
from matplotlib.figure import Figure
from secfwt.runtime.data.examples import Example
from secfwt.runtime.engine import Floats
from secfwt.runtime.tuning.model import load_model
from secfwt.runtime.tuning.objective import Ints, likely_weight, mean_loss, tried_weights
from secfwt.runtime.tuning.session import embed
from sklearn.linear_model import LogisticRegression

import rows as common
from accuracy.clear import TorchEngine
from accuracy.decoder import TorchDecoder
from accuracy.explore import add, stored
from accuracy.methods import SILENT, Method, run_options, without_prompt
from accuracy.table import f1, spread
from accuracy.tasks import DATA, TASKS, Task, pool, tested_rows
from cells import add_cell_options, computed

WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MOST = 4.0
"""`--prototype-shots` of the rules."""
POOL = 1500
"""Rows of a task that shots and tests are drawn from, at most."""
TEMPERATURE = 20.0
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of logistic regression's regularisation."""


@dataclass(frozen=True)
class Embedded:
    """Texts as unit rows `[E, h]`, and their labels' indices `[E]`."""

    rows: Floats
    labels: Ints

    def __getitem__(self, chosen: Ints) -> Embedded:
        return Embedded(self.rows[chosen], self.labels[chosen])

    def means(self, count: int) -> Floats:
        """Each label's mean row, `[L, h]`."""
        return np.stack([self.rows[self.labels == label].mean(axis=0) for label in range(count)])


def unit(rows: Floats) -> Floats:
    """Scaled to length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


class Head(Protocol):
    """What reads labels off unit rows."""

    def logits(self, rows: Floats, means: Floats, weight: float) -> Floats:
        """`[E, L]` of rows `[E, h]`, with the labels' means `[L, h]` of their shots."""

    def alone(self, rows: Floats, means: Floats) -> Floats:
        """Of the shots alone."""


@dataclass(frozen=True)
class LabelTexts:
    """Prototypes: unit embeddings `[L, h]` of the labels' texts."""

    texts: Floats

    def logits(self, rows: Floats, means: Floats, weight: float) -> Floats:
        """Cosines with t + λm."""
        return np.asarray(TEMPERATURE * rows @ unit(self.texts + weight * means).T)

    def alone(self, rows: Floats, means: Floats) -> Floats:
        """Cosines with m."""
        return np.asarray(TEMPERATURE * rows @ unit(means).T)


@dataclass(frozen=True)
class LabelWords:
    """A language model's output layer for unit rows: matrix `[h, L]` and offset `[L]`."""

    words: Floats
    offset: Floats

    def logits(self, rows: Floats, means: Floats, weight: float) -> Floats:
        """The words' as they are without shots; with them, less those of the shots' mean row, and the shots' own."""
        if weight == 0:
            return np.asarray(rows @ self.words + self.offset)
        return np.asarray((rows - means.mean(axis=0)) @ self.words + weight * self.alone(rows, means))

    def alone(self, rows: Floats, means: Floats) -> Floats:
        """Products of what both have beside the shots' mean row."""
        middle = means.mean(axis=0)
        return np.asarray(TEMPERATURE * (rows - middle) @ (means - middle).T)


def embedded(task: Task, attention: str, data: Path, examples: Mapping[str, list[Example]]) -> tuple[Any, Head]:
    """The sets as a model without a prompt embeds them, and its head."""
    options = run_options(task, Method("none", attention), 1, task.settings)  # type: ignore[arg-type]
    model = without_prompt(load_model(options, sorted(task.labels)))
    engine = TorchDecoder(model) if model.spec.causal else TorchEngine(model)
    found = {}
    for name, each in examples.items():
        labelled = embed(name, each, model, options, SILENT)
        engine.load_examples(name, labelled.batch)
        if isinstance(engine, TorchDecoder):
            rows = engine.unit_rows(name)
        else:
            with torch.no_grad():
                rows = engine.embeddings(name, torch.zeros(1, 0))[0].double().numpy()
        found[name] = Embedded(rows, labelled.labels)
    if isinstance(engine, TorchEngine):
        return found, LabelTexts(engine.prototypes.double().numpy())
    offset = engine.read(np.zeros(model.spec.hidden_size))
    return found, LabelWords(engine.read(np.eye(model.spec.hidden_size)) - offset, offset)


def draw(rows: Embedded, shots: int, seed: int) -> tuple[Embedded, Embedded, Embedded]:
    """`shots` per class to train, as many for dev, and the rest."""
    train, dev, rest = drawn(rows.labels, shots, seed)
    return rows[train], rows[dev], rows[rest]


def drawn(labels: Ints, shots: int, seed: int) -> tuple[Ints, Ints, Ints]:
    """Which rows those are."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = [order[labels[order] == label] for label in np.unique(labels)]
    parts = ((0, shots), (shots, 2 * shots), (2 * shots, None))
    train, dev, rest = (np.concatenate([each[lo:hi] for each in by_class]) for lo, hi in parts)
    return train, dev, rest


def left_out(head: Head, shots: Embedded, weight: float) -> float:
    """Mean cross entropy of shots, each without its part in the means."""
    means, count = shots.means(len(np.unique(shots.labels))), np.bincount(shots.labels)
    logits = []
    for row, label in zip(shots.rows, shots.labels, strict=True):
        others = means.copy()
        others[label] = (count[label] * means[label] - row) / max(1, count[label] - 1)
        logits.append(head.logits(row[None], others, weight)[0])
    return mean_loss(np.array(logits), shots.labels, "ce", 0.0)


def measure(head: Head, train: Embedded, dev: Embedded, test: Embedded, score: Any) -> dict[str, float]:
    """What every use of the shots reaches."""
    both = Embedded(np.concatenate([train.rows, dev.rows]), np.concatenate([train.labels, dev.labels]))
    labels = len(np.unique(train.labels))
    means = {"": train.means(labels), " of all": both.means(labels)}
    tried = tried_weights(np.bincount(train.labels).min(), MOST)

    def logits(of: Embedded, weight: float, which: str = "") -> Floats:
        return head.logits(of.rows, means[which], weight)

    def reached(scores: Floats) -> float:
        return float(score(test.labels, scores.argmax(axis=-1)))

    found = {"texts": reached(logits(test, 0.0))}
    for which in means:
        found |= {f"{weight:g}{which}": reached(logits(test, weight, which)) for weight in WEIGHTS}
        found[f"shots alone{which}"] = reached(head.alone(test.rows, means[which]))
    by_dev = np.array([mean_loss(logits(dev, weight), dev.labels, "ce", 0.0) for weight in tried])
    chosen = {
        "dev": likely_weight(tried, len(dev.labels) * by_dev),
        "lowest dev loss": tried[by_dev.argmin()],
        "leaving one out": tried[np.argmin([left_out(head, both, weight) for weight in tried])],
    }
    for name, weight in chosen.items():
        found |= {f"by {name}": reached(logits(test, weight, " of all")), f"weight by {name}": weight}
    weight = found["weight by dev"]
    found["bias"] = reached(logits(test, weight, " of all") + bias(logits(dev, weight), dev))
    fits = [LogisticRegression(C=c, max_iter=1000).fit(train.rows, train.labels) for c in STRENGTHS]
    best = STRENGTHS[int(np.argmax([fit.score(dev.rows, dev.labels) for fit in fits]))]
    regression = LogisticRegression(C=best, max_iter=1000).fit(both.rows, both.labels)
    return found | {"logistic regression": float(score(test.labels, regression.predict(test.rows)))}


def bias(logits: Floats, dev: Embedded) -> Floats:
    """A number per label to add to logits, of least cross entropy on dev, by Newton's method; little of it, as few
    examples say little: ‖b‖²/10 is added to the mean loss."""
    b, labels = np.zeros(logits.shape[1]), np.eye(logits.shape[1])[dev.labels]
    for _ in range(20):
        p = np.exp((scores := logits + b) - scores.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        gradient = (p - labels).mean(axis=0) + 0.2 * b
        hessian = np.diag(p.mean(axis=0)) - p.T @ p / len(p) + 0.2 * np.eye(len(b))
        b = b - np.linalg.solve(hessian, gradient)
    return b


def accuracy(labels: Ints, chosen: Ints) -> float:
    """Share of labels that were chosen."""
    return float(np.mean(labels == chosen))


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--attention", choices=("softmax", "rfa"), default="softmax")
    parser.add_argument("--shots", default="2,4,8,16,32")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--test", action="store_true", help="test on the task's test rows")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=common.RESULTS / "prototypes.csv")
    add_cell_options(parser)


def main(given: argparse.Namespace) -> None:
    """Measure what is missing, print a table."""
    task, shots = TASKS[given.task], [int(each) for each in given.shots.split(",")]
    measures = {"accuracy": accuracy} | ({"F1": partial(f1, label=task.labels.index(task.f1_of))} if task.f1_of else {})
    tested = "test rows" if given.test else "rows not drawn"
    keys = [
        (given.task, given.attention, tested, str(count), str(seed))
        for count in shots for seed in range(1, given.draws + 1)
    ]  # fmt: skip
    missing = [key for key in keys if key not in {row_key(row) for row in stored(given.out)}]
    if missing:
        examples = {"pool": pool(task, given.data)[:POOL]}
        if given.test:
            examples["test"] = tested_rows(task, given.data)
        torch.set_num_threads(cpu_count() if task.package else 1)
        sets, head = embedded(task, given.attention, given.data, examples)
        for _, found in computed(measured_draw, [(key, sets, head, measures) for key in missing], given):
            for row in found:
                add(given.out, row | {"commit": common.commit(), "command": common.command()})
    rows = [row for row in stored(given.out) if row_key(row) in keys]
    print(table(sorted(rows, key=lambda row: keys.index(row_key(row)))))
    figure([row for row in stored(given.out) if row["measure"] == "accuracy" and row["attention"] == "softmax"])


def measured_draw(
    key: tuple[str, ...], sets: Mapping[str, Embedded], head: Head, measures: Mapping[str, Any]
) -> list[dict[str, object]]:
    """The rows of one draw, a row per measure."""
    train, dev, rest = draw(sets["pool"], int(key[3]), int(key[4]))
    test = sets.get("test", rest)
    return [
        dict(zip(KEYS, key, strict=True))
        | {"measure": name, "tested": len(test.labels)}
        | {k: f"{v:.4f}" for k, v in measure(head, train, dev, test, score).items()}
        for name, score in measures.items()
    ]


DRAWN = {
    "by dev": "texts or words, and shots", "texts": "texts or words alone", "shots alone of all": "shots alone",
    "logistic regression": "logistic regression",
}  # fmt: skip
"""Uses that the figure shows."""
PANELS = 2
"""Of the figure, side by side."""
KEYS = ("task", "attention", "on", "shots", "draw")


def row_key(row: Mapping[str, str]) -> tuple[str, ...]:
    """What makes it the same draw."""
    return tuple(row[name] for name in KEYS)


def figure(rows: list[dict[str, str]]) -> None:
    """Accuracy against shots, a panel per task but pairs: means over draws, on the rows that were not drawn."""
    rows = [row for row in rows if row["on"] == "rows not drawn"]
    tasks = [name for name, task in TASKS.items() if not task.f1_of and any(row["task"] == name for row in rows)]
    lines = -(-len(tasks) // PANELS)
    drawing = Figure(figsize=(4.2 * PANELS, 3.2 * lines), layout="constrained")
    panels = drawing.subplots(lines, PANELS, squeeze=False).ravel()
    for axes in panels[len(tasks) :]:
        axes.axis("off")
    for axes, task in zip(panels, tasks, strict=False):
        shots = sorted({int(row["shots"]) for row in rows if row["task"] == task})
        for use, name in DRAWN.items():
            means = [
                100 * np.mean([float(r[use]) for r in rows if (r["task"], r["shots"]) == (task, str(count))])
                for count in shots
            ]  # fmt: skip
            axes.plot(shots, means, "o-", label=name)
        axes.set(
            title=TASKS[task].name, xlabel="shots per label, and as many for dev", xscale="log", ylabel="accuracy, %"
        )
        axes.set_xticks(shots, [str(count) for count in shots])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    axes.legend()
    drawing.savefig(common.FIGURES / "prototypes.png", dpi=120, metadata={"Software": None})


def table(rows: list[dict[str, str]]) -> str:
    """Markdown: a line a use of the shots, a column a number of them; percent, mean ± deviation over draws."""
    groups = list(dict.fromkeys((row["measure"], row["shots"]) for row in rows))
    uses = [name for name in rows[0] if name not in (*KEYS, "measure", "tested", "commit", "command")]
    lines = ["| | " + " | ".join(" ".join(group) for group in groups) + " |", "|---" * (len(groups) + 1) + "|"]
    for use in uses:
        scale = 0.01 if use.startswith("weight") else 1.0
        cells = [
            spread([scale * float(row[use]) for row in rows if (row["measure"], row["shots"]) == group])
            for group in groups
        ]  # fmt: skip
        lines.append(f"| {use} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
