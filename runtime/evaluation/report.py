"""An evaluation as text and as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import numpy as np

from .metrics import Evaluation, Interval

NUMBERED = 12
"""Most classes whose confusions are written into the figure's cells."""


def table(evaluation: Evaluation) -> str:
    """All metrics in lines of at most 100 columns, for few classes."""
    e = evaluation
    width = max(8, *(len(each.name) for each in e.classes))
    lines = [
        f"examples     {e.examples}",
        f"accuracy     {e.accuracy}",
        f"macro F1     {e.macro_f1.value:.3f} ({e.macro_f1.low:.3f} to {e.macro_f1.high:.3f})",
        f"calibration  {e.calibration_error} expected difference of confidence and accuracy",
        "",
        f"{'class':{width}}  examples  F1     precision                 recall",
        *(
            f"{each.name:{width}}  {each.examples:8}  {each.f1:.3f}  {each.precision!s:24}  {each.recall}"
            for each in e.classes
        ),
    ]
    return "\n".join(lines)


def gain_line(gain: Interval) -> str:
    """What a gain of accuracy on the test set means."""
    points = f"{100 * gain.value:+.1f} points, 95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    if gain.low > 0:
        return f"{points}: more than chance"
    if gain.high < 0:
        return f"{points}: a loss, more than chance"
    return f"{points}: may be chance"


def draw(evaluations: Mapping[str, Evaluation]) -> bytes:
    """A PNG: per prompt its confusion matrix and how well confidence and accuracy agree."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(9.0, 4.0 * len(evaluations)), layout="constrained")
    grid = figure.subplots(len(evaluations), 2, squeeze=False)
    for (name, evaluation), (left, right) in zip(evaluations.items(), grid, strict=True):
        _confusion(left, evaluation, name)
        _reliability(right, evaluation)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def _confusion(axes, evaluation: Evaluation, name: str) -> None:  # type: ignore[no-untyped-def]
    counts = np.array(evaluation.confusion)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [each.name for each in evaluation.classes]
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=90 if len(names) > 4 else 0)
    axes.set_yticks(ticks, names)
    accuracy = evaluation.accuracy
    axes.set(xlabel="predicted", ylabel="label", title=f"{name}: accuracy {accuracy}")
    if len(names) <= NUMBERED:
        for i, j in np.ndindex(*counts.shape):
            axes.text(j, i, counts[i, j], ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")


def _reliability(axes, evaluation: Evaluation) -> None:  # type: ignore[no-untyped-def]
    confidence, accuracy, count = np.array(evaluation.calibration).T
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.scatter(confidence, accuracy, s=20 + 200 * count / count.sum(), alpha=0.7)
    title = f"calibration error {evaluation.calibration_error}"
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(-0.03, 1.03), title=title)
