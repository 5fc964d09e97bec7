"""What the search minimises: losses of candidate prompts on a set of examples, evaluated by an engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...codegen.lowering.program import PROMPT_ROW
from ...codegen.plan.graph import Plan, Value
from ...codegen.plan.projection import public_matrix
from ..engine import Batch, Engine, Floats
from ..privacy import Mechanism
from .limits import Canaries, Limits

Ints = NDArray[np.int64]
SHOT_WEIGHTS = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Weights of the shots that are tried, over the most that they may have."""
SHOTS = "shots"
"""The set of all labelled examples, training and dev, that take part in the head in the end. A run has it only where
its mean is not one of both sets' means (`Splits.alike`)."""


def tried_weights(shots: int, most: float) -> Floats:
    """Weights of so many shots per label that are tried: one shot weighs a quarter of its label's text at most."""
    return np.asarray(min(most, shots / 4) * np.array(SHOT_WEIGHTS))


def likely_weight(weights: Floats, losses: Floats) -> float:
    """The mean of weights, each as likely as it makes the labels: `losses` are sums of cross entropies, or NaN.

    All are as likely before. So few examples, which tell weights hardly apart, leave the weight near the middle, and
    many choose the best one (Bayesian model averaging)."""
    likelihood = np.nan_to_num(np.exp(np.nanmin(losses) - losses))
    return float(likelihood @ weights / likelihood.sum())


@dataclass(frozen=True)
class LabelledSet:
    """Examples as an engine takes them, and their labels' indices `[E]`, which the data owner knows anyway."""

    name: str
    batch: Batch
    labels: Ints


@dataclass(frozen=True)
class Prompt:
    """One prompt of a plan: its part of z, its public projection A `[d, n, h]`, its initial rows' weight."""

    part: slice
    projection: Floats
    p0: str = ""
    """Empty: it is added to rows that the data owner gives (a decoder's)."""
    unit: float = 1.0
    """What A·z is multiplied by: how long normalised rows are there."""


class PromptSpace:
    """From the search's z to the program's: times alpha, and short enough for the program's number format.

    A row of a prompt p0 + A·z must not be longer than `PROMPT_ROW` normalised rows. The initial prompt's rows are
    normalised rows, so a part of z whose A·z has a row longer than PROMPT_ROW − 1 of them is scaled down to that.
    """

    def __init__(self, plan: Plan, alpha: float) -> None:
        """`plan` is a model plan; every A is public and expands from its seed."""
        (z,) = (v for v in plan if v.attrs.get("name") == "z")  # a candidate's, or of a text that is continued
        self.dim = z.size
        self.alpha = alpha
        heads = [v for v in plan if v.kind in ("prototypes", "label_words")]
        self.most_shots = sum(v.attrs["most"] for v in heads)
        """Most weight that shots may have in the head; 0: the program has none there."""
        self._centred = any(v.kind == "label_words" for v in heads)
        self.shots = 0.0
        """Weight that they have where nothing else is said."""
        self.prompts = [_prompt(v) for v in plan if v.kind in ("prompt", "offset")]

    def coordinates(self, z: Floats) -> Floats:
        """What the parties get for z `[..., d]`, same shape; of a program with shots one number more, their weight,
        which z may have behind it; of one with label words another, 1: logits are those over the shots' mean row's, 0
        where the weight is 0: the model as it is."""
        z, shots = z[..., : self.dim], z[..., self.dim :]
        sent = self.alpha * z
        for prompt in self.prompts:
            rows = np.linalg.norm(_offset(prompt, sent), axis=-1).max(axis=-1, keepdims=True)
            longest = (PROMPT_ROW - 1) * np.sqrt(prompt.projection.shape[-1])
            sent[..., prompt.part] *= longest / np.maximum(rows, longest)
        if not self.most_shots:
            return sent
        weight = shots if shots.shape[-1] else np.full((*z.shape[:-1], 1), self.shots)
        centred = [(weight > 0).astype(float)] if self._centred else []
        return np.concatenate([sent, weight, *centred], axis=-1)

    @property
    def untuned(self) -> Floats:
        """The z of the model as it is: without a prompt, and without shots."""
        return np.zeros(self.dim + bool(self.most_shots))

    def means(self, part: float = 1.0) -> Floats:
        """What the parties get in a step that keeps so much of a set's means, without a prompt."""
        return self.coordinates(np.append(np.zeros(self.dim), part))

    def rows(self, z: Floats, weights: Mapping[str, NDArray[Any]]) -> Floats:
        """The prompts p0 + A·z `[prompts, n, h]`, or what a decoder's adds to its rows, of the search's z `[d]`, for
        whoever knows the initial rows."""
        sent = self.coordinates(z)
        offsets = [prompt.unit * _offset(prompt, sent) for prompt in self.prompts]
        return np.stack([weights[p.p0] + o if p.p0 else o for p, o in zip(self.prompts, offsets, strict=True)])


def _prompt(v: Value) -> Prompt:
    first, dim = v.attrs["first"], v.attrs["intrinsic_dim"]
    words = public_matrix(v.attrs["seed"], v.attrs["bits"], (dim, v.size))
    projection = np.ldexp(words.astype(np.float64), -v.attrs["scale_bits"]).reshape(dim, *v.shape)
    unit = 2.0 ** v.attrs.get("unit_bits", 0)
    return Prompt(slice(first, first + dim), projection, v.weights.get("p0", ""), unit)


def _offset(prompt: Prompt, sent: Floats) -> Floats:
    """A·z `[..., n, h]` of the program's z `[..., d]`."""
    return np.tensordot(sent[..., prompt.part], prompt.projection, axes=1)


@dataclass(frozen=True)
class Evaluation:
    """Candidates' losses `[C]`, NaN for those that are rejected; of each of these, what cannot be; wrong rows per
    example `[C]`, if the program shows them."""

    losses: Floats
    rejected: list[str]
    health: Floats | None


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
    """Those that are this data owner's; the engine of several owners' sum has the others."""
    limits: Limits = field(default_factory=Limits)
    canaries: Canaries = field(default_factory=lambda: Canaries(0))
    at_a_time: int = 0
    """Examples of the test set that the parties hold at a time; 0: all."""
    opened: Counter[str] = field(default_factory=Counter)
    """Losses, and rows of logits, that the engine has opened: canaries are among them."""
    mechanism: Mechanism | None = None
    """What the noise on losses keeps private; None: they have none."""
    asking: Callable[[str, int], None] = lambda name, losses: None
    """Told of a set and a number of losses before they are opened."""

    def load(self, name: str, place: str = "") -> None:
        """Share a set with the engine, if it is here; `place`: under the name of another, which is there no longer."""
        if name in self.sets:
            self.engine.load_examples(place or name, self.sets[name].batch)

    def release(self, name: str) -> None:
        """Give up a loaded set, whose memory the parties need for others, but for one example: they drop none."""
        self.engine.load_examples(name, self.sets[name].batch.part(slice(0, 1)))

    def keep(self, name: str, part: float = 1.0, *, add: bool = False) -> None:
        """Keep so much of the mean rows of a loaded set's labels, without a prompt, or add it to what is kept."""
        self.engine.keep(name, self.space.means(part), add=add)

    def keep_shots(self) -> None:
        """Keep the mean rows of all shots, train's and dev's; dev is given up."""
        if SHOTS in self.sets:
            self.release("dev")
            self.load(SHOTS, place="train")
            self.keep("train")
            return
        train, dev = (len(self.sets[name].labels) for name in ("train", "dev"))
        self.keep("train", train / (train + dev))
        self.keep("dev", dev / (train + dev), add=True)
        self.release("dev")

    def shot_losses(self, name: str, weights: Floats) -> Floats:
        """Mean loss of a loaded set without a prompt, for weights of the shots `[C]`; NaN where it cannot be that."""
        return self.losses(name, np.column_stack([np.zeros((len(weights), self.space.dim)), weights]))

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate over a loaded set, `[C]`; NaN where it cannot be that."""
        return self.evaluate(name, z).losses

    def evaluate(self, name: str, z: Floats) -> Evaluation:
        """All candidates, and canaries, on a loaded set: all pairs in one step, or with logits one step a candidate.

        Raises CanaryError.
        """
        mixed = self.canaries.mix(name, z)
        losses, possible, health = self._opened(name, mixed.z)
        self.canaries.check(name, mixed, losses, self.limits.admits(losses) & possible)
        kept = mixed.places
        return self._judged(losses[kept], possible[kept], None if health is None else health[kept])

    def _opened(self, name: str, z: Floats) -> tuple[Floats, NDArray[np.bool_], Floats | None]:
        """Losses, whether logits can be, and wrong rows if the program shows them, each `[C]`."""
        if self.reveal == "losses":
            self.asking(name, len(z))
            opened = self.engine.losses(name, self.space.coordinates(z))
            self.opened["losses"] += len(z)
            losses, health = (opened, None) if opened.ndim == 1 else (opened[:, 0], opened[:, 1])
            return losses, np.ones(len(z), bool), health
        labels = self.sets[name].labels
        logits = [self.logits(name, row) for row in z]
        possible = np.array([self.possible(each).all() for each in logits])
        return np.array([mean_loss(each, labels, self.loss, self.margin) for each in logits]), possible, None

    def possible(self, logits: Floats) -> NDArray[np.bool_]:
        """Which examples' logits `[E, L]` are within the limits, `[E]`."""
        return self.limits.admits_logits(logits)

    def _judged(self, losses: Floats, possible: NDArray[np.bool_], health: Floats | None) -> Evaluation:
        admitted = self.limits.admits(losses)
        reasons = [f"loss {v:.4g}" for v in losses[~admitted]]
        reasons += [f"logits beyond ±{self.limits.logit:.4g}"] * int((admitted & ~possible).sum())
        return Evaluation(np.where(admitted & possible, losses, np.nan), reasons, health)

    def measure(self, name: str, prompts: Sequence[Floats], place: str) -> list[Floats]:
        """Logits of a set under each of the prompts `[d]`, `[E, L]`; loaded here, `at_a_time`, in place of another
        set, which the engine then has no longer."""
        batch, found = self.sets[name].batch, [list[Floats]() for _ in prompts]
        step = self.at_a_time or len(batch)
        for first in range(0, len(batch), step):
            self.engine.load_examples(place, batch.part(slice(first, first + step)))
            for logits, z in zip(found, prompts, strict=True):
                logits.append(self.logits(place, z))
        return [np.concatenate(logits) for logits in found]

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of a loaded set under one prompt, `[E, L]`."""
        logits = self.engine.logits(name, self.space.coordinates(z))
        self.opened["rows of logits"] += len(logits)
        return logits

    def gain(self, name: str, z: Floats) -> tuple[float, float]:
        """How much lower a loaded set's mean loss is under z `[d]` than under none, and the standard error of that;
        NaN where logits cannot be. Opens the set's logits under both."""
        labels = self.sets[name].labels
        logits = [self.logits(name, each) for each in (np.zeros_like(z), z)]
        if not all(self.possible(each).all() for each in logits):
            return np.nan, np.nan
        without, under = (each_loss(each, labels, self.loss, self.margin) for each in logits)
        lower = without - under
        return float(lower.mean()), float(lower.std(ddof=1) / np.sqrt(len(lower)))

    def accuracy(self, name: str, z: Floats) -> float:
        """Share of a loaded set whose largest logit is the label's. Opens the set's logits under this one prompt."""
        return float(np.mean(self.logits(name, z).argmax(axis=-1) == self.sets[name].labels))


def mean_loss(logits: Floats, labels: Ints, loss: str, margin: float) -> float:
    """Mean of `each_loss`."""
    return float(np.mean(each_loss(logits, labels, loss, margin)))


def each_loss(logits: Floats, labels: Ints, loss: str, margin: float) -> Floats:
    """Cross entropies, or Σ over wrong labels of max(0, margin + logit − right logit), `[E]` of logits `[E, L]`."""
    right = logits[np.arange(len(labels)), labels][:, None]
    if loss == "ce":
        top = logits.max(axis=-1, keepdims=True)
        return np.asarray((np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)) + top - right)[:, 0])
    hinge = np.maximum(0.0, margin + logits - right)
    return np.asarray(hinge.sum(axis=-1) - margin)
