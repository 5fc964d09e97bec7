"""What the search minimises: losses of candidate prompts on a set of examples, evaluated by an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..codegen.lower import PROMPT_ROW
from ..codegen.plan import Plan
from ..codegen.public import public_matrix
from .engine import Batch, Engine, Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LabelledSet:
    """Examples as an engine takes them, and their labels' indices `[E]`, which the data owner knows anyway."""

    name: str
    batch: Batch
    labels: Ints


class PromptSpace:
    """From the search's z to the program's: times alpha, and short enough for the program's number format.

    A row of the prompt p0 + A·z must not be longer than `PROMPT_ROW` normalised rows. The initial prompt's rows are
    normalised rows, so a z whose A·z has a row longer than PROMPT_ROW − 1 of them is scaled down to that.
    """

    def __init__(self, plan: Plan, alpha: float) -> None:
        """`plan` is a model plan; A is public and expands from its seed."""
        (prompt,) = (v for v in plan if v.kind == "prompt")
        (z,) = plan.inputs("candidate")
        words = public_matrix(prompt.attrs["seed"], prompt.attrs["bits"], (z.shape[0], prompt.size))
        self.alpha = alpha
        self.projection = np.ldexp(words.astype(np.float64), -prompt.attrs["scale_bits"]).reshape(-1, *prompt.shape)

    def coordinates(self, z: Floats) -> Floats:
        """What the parties get for z `[..., d]`, same shape."""
        z = self.alpha * z
        rows = np.linalg.norm(self.offset(z), axis=-1).max(axis=-1, keepdims=True)
        longest = (PROMPT_ROW - 1) * np.sqrt(self.projection.shape[-1])
        shrunk: Floats = z * (longest / np.maximum(rows, longest))
        return shrunk

    def offset(self, coordinates: Floats) -> Floats:
        """A·z `[..., n, h]` of the program's z `[..., d]`."""
        return np.tensordot(coordinates, self.projection, axes=1)


@dataclass
class Objective:
    """Losses and accuracies of prompts p0 + A·z; every method takes z `[C, d]` or `[d]` of the search's space.

    `reveal="losses"` opens one number a candidate (mean loss over the set). `reveal="logits"` opens the logits of every
    example to the data owner, who computes `loss` itself: one step a candidate.
    """

    engine: Engine
    space: PromptSpace
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
            return self.engine.losses(name, self.space.coordinates(z))
        labels = self.sets[name].labels
        return np.array([mean_loss(self.logits(name, row), labels, self.loss, self.margin) for row in z])

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of a loaded set under one prompt, `[E, L]`."""
        return self.engine.logits(name, self.space.coordinates(z))

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
