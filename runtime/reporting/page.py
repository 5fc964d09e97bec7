"""The page of a run, from what its files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...codegen import VERSION
from ...codegen.commandline.units import amount, seconds
from ...codegen.plan.graph import Output
from ..evaluation.metrics import Interval
from ..evaluation.report import gain_line
from ..evaluation.results import TUNED, UNTUNED
from ..run_folder import Json
from .figures import best_on_dev, losses, svg_uri
from .seen import views
from .settings import Setting

FILE = "report.html"
SHOWN = 20
"""Most classes that have a confusion matrix; of more, the most frequent confusions are listed."""
NAMES = {UNTUNED: "without tuning", TUNED: "with the chosen prompt"}


@dataclass(frozen=True)
class Facts:
    """What is known of a run when it begins."""

    model: str
    description: str
    engine: str
    private: bool
    labels: Sequence[str]
    examples: Mapping[str, int]
    settings: Sequence[Setting]
    fingerprints: Mapping[str, str]
    outputs: Sequence[Output]
    """Of the program."""
    clear_layers: int
    """Lowest layers that the data owner runs."""
    weights: str
    """Whose the weights are, as `--weights` says it."""
    generations: int
    """Of the whole search."""
    repeat: str
    """The command that makes the same run again."""
    resume: str
    """The command that goes on with this one."""


@dataclass(frozen=True)
class Reached:
    """How far it came, as `result.json` has it; losses are means over a set."""

    generations: int
    evaluations: int
    start_loss: float
    best_loss: float
    start_dev: float
    best_dev: float
    rejected: int
    phases: Mapping[str, Json]
    """Costs."""
    opened: Mapping[str, int]
    """Losses and rows of logits."""
    wall_seconds: float | None = None
    stopped: str = ""
    """Why the search ended; empty: it did not, and the run can be continued."""
    privacy: Json | None = None
    """With noise on losses, what follows for the examples."""

    @classmethod
    def of(cls, content: Json) -> Reached:
        """What `result.json` holds, of that which a page shows."""
        return cls(**{field.name: content[field.name] for field in fields(cls) if field.name in content})


def page(facts: Facts, reached: Reached, history: Sequence[Json], evaluation: Json) -> str:
    """The whole page; `evaluation` as in `evaluation.json`, empty where nothing was measured."""
    seen = views(facts.outputs, reached.opened, facts.private, facts.clear_layers, facts.weights)
    figure = losses(history, reached.start_dev, "", (4.6, 3.2))
    return _environment().get_template("report.html.j2").render(
        version=VERSION, facts=facts, reached=reached, figure=svg_uri(figure), kept=kept(reached, history), seen=seen,
        prompts=[(NAMES[name], evaluation[name]) for name in NAMES if name in evaluation],
        gain=gain_line(Interval(**evaluation["gain"])) if "gain" in evaluation else "",
        confusions={NAMES[n]: _confusions(evaluation[n]) for n in NAMES if n in evaluation}, matrix_at_most=SHOWN,
    )  # fmt: skip


def kept(reached: Reached, history: Sequence[Json]) -> str:
    """Which prompt was chosen, in a sentence."""
    if reached.best_dev >= reached.start_dev:
        return f"No prompt was better on dev than none, {reached.start_dev:.4f}: the result is the untuned model."
    found = (generation for generation, loss in best_on_dev(history) if loss <= reached.best_dev)
    where = f"one of generation {next(found, reached.generations)}"
    return f"The prompt with the lowest dev loss is kept, {where}: {reached.start_dev:.4f} to {reached.best_dev:.4f}."


def _confusions(evaluation: Json) -> list[tuple[int, str, str]]:
    """The most frequent: how often, the label, what was predicted."""
    names = [each["name"] for each in evaluation["classes"]]
    wrong = [
        (count, names[i], names[j])
        for i, row in enumerate(evaluation["confusion"])
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(wrong, key=lambda each: (-each[0], each[1:]))[:SHOWN]


def _environment() -> Environment:
    """Names of labels, files and models are the user's text: all is escaped."""
    folder = Path(__file__).resolve().parents[2] / "templates"
    result = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=True,
    )  # fmt: skip
    result.filters |= {"percent": _percent, "bytes": _bytes, "seconds": seconds}
    return result


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _bytes(value: float) -> Any:
    return amount(value, "B") if value else "–"
