"""Metrics against definitions written out, scikit-learn where it is, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from secfwt.runtime.evaluation.metrics import BINS, evaluate, gain, probabilities, share
from secfwt.runtime.evaluation.report import draw, gain_line, table

NAMES = ("a", "b", "c")


def sample(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    return rng.standard_normal((count, 3)) + 1.5 * np.eye(3)[labels], labels


def test_by_hand() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]]))
    found = evaluate(logits, np.array([0, 1, 1, 1]), NAMES)
    assert found.examples == 4
    assert found.accuracy.value == 0.75
    assert found.confusion == ((1, 0, 0), (1, 2, 0), (0, 0, 0))
    assert found.macro_f1.value == pytest.approx((2 / 3 + 4 / 5) / 2), "a class that does not occur does not count"
    # bins of 0.6 and 0.7 are two of fifteen: |0.6 − 0|, |0.7 − 1|, 2 · |0.8 − 1|
    assert found.calibration_error.value == pytest.approx((0.6 + 0.3 + 0.4) / 4)
    assert [(each.examples, each.precision.value, each.recall.value) for each in found.classes] == [
        (1, 0.5, 1.0), (3, 1.0, pytest.approx(2 / 3)), (0, 0.0, 0.0),
    ]  # fmt: skip
    assert (found.classes[2].recall.low, found.classes[2].recall.high) == (0, 1)


def test_against_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    logits, labels = sample(200)
    found, predicted = evaluate(logits, labels, NAMES), logits.argmax(axis=1)
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found.macro_f1.value == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert np.array_equal(found.confusion, metrics.confusion_matrix(labels, predicted))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(labels, predicted)
    for i, each in enumerate(found.classes):
        assert (each.precision.value, each.recall.value, each.f1, each.examples) == pytest.approx(
            (precision[i], recall[i], f1[i], support[i])
        )


def test_intervals_hold_what_they_promise() -> None:
    """The truth lies in nineteen of twenty: of forty draws of 60 examples, in 34 at least."""
    everything = evaluate(*sample(20000, 1), NAMES)
    held = {"accuracy": 0, "macro_f1": 0}
    for seed in range(2, 42):
        found = evaluate(*sample(60, seed), NAMES)
        for name in held:
            interval = getattr(found, name)
            held[name] += interval.low <= getattr(everything, name).value <= interval.high
    assert min(held.values()) >= 34, held


def test_shares_at_the_ends() -> None:
    assert (share(0, 10).low, share(10, 10).high) == (0, 1)
    assert share(0, 10).high == pytest.approx(0.2775, abs=1e-4), "Wilson's, of ten"
    assert share(10, 10).low == pytest.approx(0.7225, abs=1e-4)


def test_gains() -> None:
    right = np.zeros(100, bool)
    better = right.copy()
    better[:20] = True
    assert gain(right, better).value == 0.2
    assert gain(right, better).low > 0.1
    assert gain_line(gain(right, better)).endswith("more than chance")
    assert gain_line(gain(better, right)).endswith("a loss, more than chance")
    assert gain_line(gain(better, better)).endswith("may be chance")
    assert gain(better, better).low < 0 < gain(better, better).high


def test_probabilities_of_large_logits() -> None:
    assert np.allclose(probabilities(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])), [[1, 0], [0.5, 0.5]])


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        evaluate(np.array([[np.nan, 0.0]]), np.array([0]), ("a", "b"))


def test_text_and_figure() -> None:
    found = evaluate(*sample(50), NAMES)
    text = table(found)
    assert f"accuracy     {found.accuracy}" in text
    assert max(map(len, text.splitlines())) <= 100
    assert sum(n for _, _, n in found.calibration) == 50
    assert len(found.calibration) <= BINS
    assert draw({"none": found, "tuned": found}).startswith(b"\x89PNG")
