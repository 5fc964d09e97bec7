"""Losses of a run by generation, as a picture of its own or inside a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from ..run_folder import Json

TIMELESS = {"Date": None}
"""The same figure gives the same bytes."""


def losses(history: Sequence[Json], start_dev: float, title: str, size: tuple[float, float]) -> Any:
    """A matplotlib figure of train and dev losses; `size` in inches."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    train = [(line["generation"], _numbers(line["losses"])) for line in history]
    train = [(generation, values) for generation, values in train if values]
    generations = [generation for generation, _ in train]
    lowest, highest = [min(v) for _, v in train], [max(v) for _, v in train]
    axes.fill_between(generations, lowest, highest, alpha=0.2, label="train, all")
    axes.plot(generations, [float(np.mean(v)) for _, v in train], label="train, mean")
    dev = [(0, start_dev), *best_on_dev(history)]
    axes.plot([g for g, _ in dev], [v for _, v in dev], marker="o", label="dev, best")
    axes.set(xlabel="generation", ylabel="loss", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def best_on_dev(history: Sequence[Json]) -> list[tuple[int, float]]:
    """Generations whose contenders were measured on dev, and the lower loss of each."""
    measured = [(line["generation"], _numbers(line.get("dev", []))) for line in history]
    return [(generation, min(values)) for generation, values in measured if values]


def png(figure: Any) -> bytes:
    """As a picture."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def svg_uri(figure: Any) -> str:
    """As what an `<img>` of a page holds itself: there no script in it would run, and no font is asked for."""
    from matplotlib import rc_context

    file = BytesIO()
    with rc_context({"svg.hashsalt": "secfwt"}):
        figure.savefig(file, format="svg", metadata=TIMELESS)
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
