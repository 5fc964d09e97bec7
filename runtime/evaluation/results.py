"""Evaluations of one set of examples under several prompts, and their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..run_folder import Json
from .metrics import Evaluation, Floats, Interval, Ints, evaluate, gain
from .report import draw

UNTUNED, TUNED = "none", "tuned"
"""Names of the prompts that a run compares: z = 0, and the one that it chose."""
JSON_FILE, FIGURE = "evaluation.json", "evaluation.png"


@dataclass(frozen=True)
class Measured:
    """An evaluation, and which of its examples are right, `[E]`."""

    evaluation: Evaluation
    right: NDArray[np.bool_]


def measure(logits: Floats, labels: Ints, names: Sequence[str]) -> Measured:
    """As `evaluate`."""
    right: NDArray[np.bool_] = logits.argmax(axis=-1) == labels
    return Measured(evaluate(logits, labels, names), right)


def gain_of(found: Mapping[str, Measured]) -> Interval | None:
    """What tuning has gained, where both prompts were measured."""
    return gain(found[UNTUNED].right, found[TUNED].right) if found.keys() >= {UNTUNED, TUNED} else None


def files(found: Mapping[str, Measured]) -> tuple[Json, bytes]:
    """What `evaluation.json` and `evaluation.png` hold; intervals are of 95 %."""
    evaluations = {name: each.evaluation for name, each in found.items()}
    content: dict[str, Any] = {name: asdict(each) for name, each in evaluations.items()}
    if (gained := gain_of(found)) is not None:
        content["gain"] = asdict(gained)
    return content, draw(evaluations)
