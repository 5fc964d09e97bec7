"""What the search minimises: losses of candidate prompts on a set of examples, evaluated by an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .engine import Batch, Engine, Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LabelledSet:
    """Examples as an engine takes them, and their labels' indices `[E]`, which the data owner knows anyway."""

    name: str
    batch: Batch
    labels: Ints


@dataclass
class Objective:
    """Losses and accuracies of prompts p0 + alpha · A·z; every method takes z `[C, d]` or `[d]` of the search space.

    `reveal="losses"` opens one number a candidate (mean loss over the set). `reveal="logits"` opens the logits of every
    example to the data owner, who computes `loss` itself: one step a candidate.
    """

    engine: Engine
    alpha: float
    reveal: Literal["losses", "logits"]
    loss: Literal["ce", "hinge"]
    margin: float
    sets: dict[str, LabelledSet]

    def load(self, name: str) -> None:
        """Share a set with the engine."""
        self.engine.load_examples(name, self.sets[name].batch)

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate over a loaded set, `[C]`: all candidates × examples in one step."""
        if self.reveal == "losses":
            return self.engine.losses(name, self.alpha * z)
        labels = self.sets[name].labels
        return np.array([mean_loss(self.logits(name, row), labels, self.loss, self.margin) for row in z])

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of a loaded set under one prompt, `[E, L]`."""
        return self.engine.logits(name, self.alpha * z)

    def accuracy(self, name: str, z: Floats) -> float:
        """Share of a loaded set whose largest logit is the label's. Opens the set's logits under this one prompt."""
        return float(np.mean(self.logits(name, z).argmax(axis=-1) == self.sets[name].labels))


def mean_loss(logits: Floats, labels: Ints, loss: str, margin: float) -> float:
    """Mean over examples of the cross entropy or of Σ over wrong labels of max(0, margin + logit − right logit)."""
    right = logits[np.arange(len(labels)), labels][:, None]
    if loss == "ce":
        top = logits.max(axis=-1, keepdims=True)
        return float(np.mean(np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)) + top - right))
    hinge = np.maximum(0.0, margin + logits - right)
    return float(np.mean(hinge.sum(axis=-1) - margin))
