"""Metrics of a classifier from its logits, each with its 95 % interval over draws of such examples.

Shares (accuracy, precision, recall) have Wilson's interval (1927), which is right for few examples too. Macro F1 and
calibration error, which are no shares, have the percentiles of a bootstrap over examples. A gain on the same examples
has the interval for matched pairs of Agresti and Min (2005).

The bootstrap's random numbers are seeded: the same logits give the same intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z = 1.959964
"""Normal quantile of a 95 % interval."""
RESAMPLES = 1000
BINS = 15
"""Of the calibration error (Guo et al. 2017)."""


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class ClassMetrics:
    """Of one class; without examples, or predictions, what cannot be said is 0 with an interval from 0 to 1."""

    name: str
    examples: int
    precision: Interval
    recall: Interval
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """Of E examples of L classes."""

    examples: int
    accuracy: Interval
    macro_f1: Interval
    """Mean F1 of the classes that occur among labels or predictions."""
    calibration_error: Interval
    """Expected difference of confidence and accuracy, over 15 bins of equal width."""
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: labels; columns: predictions."""
    calibration: tuple[tuple[float, float, int], ...]
    """Of every bin that has examples: mean confidence, accuracy, examples."""


def probabilities(logits: Floats) -> Floats:
    """Softmax over the last axis, `[..., L]`."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def evaluate(logits: Floats, labels: Ints, names: Sequence[str]) -> Evaluation:
    """Metrics of logits `[E, L]` against labels `[E]`, indices into the L `names`; E is at least 1.

    Raises ValueError where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("logits are not finite")
    count, classes = logits.shape
    chances, predicted = probabilities(logits), logits.argmax(axis=-1)
    right, confidence = predicted == labels, chances.max(axis=-1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    draws = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))  # of examples; nothing is secret
    return Evaluation(
        count,
        share(int(right.sum()), count),
        _bootstrapped(macro_f1(confusion), [_resampled_f1(labels[d], predicted[d], classes) for d in draws]),
        _bootstrapped(
            calibration_error(confidence, right), [calibration_error(confidence[d], right[d]) for d in draws]
        ),
        tuple(_of_class(confusion, i, name) for i, name in enumerate(names)),
        tuple(tuple(int(n) for n in row) for row in confusion),
        tuple(_bins(confidence, right)),
    )


def share(part: int, whole: int) -> Interval:
    """Wilson's interval of a share; of nothing, all that can be."""
    if not whole:
        return Interval(0.0, 0.0, 1.0)
    p, z = part / whole, Z * Z / whole
    middle, half = (p + z / 2) / (1 + z), sqrt(z * (p * (1 - p) + z / 4)) / (1 + z)
    return Interval(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)))


def gain(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Interval:
    """Gain of accuracy from one classifier to another on the same examples: which of them each has right, `[E]`."""
    won, lost, count = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    p, q = (won + 0.5) / (count + 2), (lost + 0.5) / (count + 2)
    half = Z * sqrt(max(0.0, p + q - (p - q) ** 2) / (count + 2))
    return Interval((won - lost) / count, max(-1.0, p - q - half), min(1.0, p - q + half))


def macro_f1(confusion: Ints) -> float:
    """Mean F1 of the classes that occur, of a confusion matrix `[L, L]`."""
    sums = confusion.sum(axis=0) + confusion.sum(axis=1)
    occurs = sums > 0
    return float(np.mean(2 * np.diag(confusion)[occurs] / sums[occurs]))


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Mean over examples of the difference between their bin's confidence and accuracy."""
    where = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(where, confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _resampled_f1(labels: Ints, predicted: Any, classes: int) -> float:
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return macro_f1(counts.reshape(classes, classes))


def _bootstrapped(value: float, resampled: Sequence[float]) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def _of_class(confusion: Ints, i: int, name: str) -> ClassMetrics:
    right, labelled, predicted = int(confusion[i, i]), int(confusion[i].sum()), int(confusion[:, i].sum())
    f1 = 2 * right / (labelled + predicted) if labelled + predicted else 0.0
    return ClassMetrics(name, labelled, share(right, predicted), share(right, labelled), f1)


def _bins(confidence: Floats, right: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    where = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    members = (where == bin for bin in range(BINS))
    return [(float(confidence[m].mean()), float(right[m].mean()), int(m.sum())) for m in members if m.any()]
