"""Figures of measured rows: how cost grows along one axis, and engines side by side.

python benchmarks/run.py figures
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from performance.models import SHAPES
from rows import FIGURES, Row, read

AXES = ("tokens", "layers", "candidates", "examples", "features")
COSTS = {"seconds": "seconds", "megabytes": "MB, all parties", "peak_memory_mb": "MB of memory, largest party"}
NAMES = {str(shape): name for name, shape in SHAPES.items()}


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """The command takes none."""


def main(_: argparse.Namespace) -> None:
    """Draw."""
    draw()


def draw(folder: Path = FIGURES) -> None:
    """All figures that there are rows for."""
    for benchmark in ("layer", "forward", "generation"):
        measured = read(benchmark)
        for axis in AXES:
            path = folder / f"{benchmark}-{axis}.svg"
            if growth(measured, axis, path):
                print(path)
    if measured := one_run(read("layer")):
        attentions(measured, folder / "attentions.svg")
        print(folder / "attentions.svg")
    if measured := read("peers"):
        side_by_side(measured, folder / "peers.svg")
        print(folder / "peers.svg")


def along(rows: Sequence[Row], axis: str) -> dict[str, list[Row]]:
    """The rows that differ along `axis` alone, by what they have in common, sorted; a later row replaces an earlier.

    Without what has a single point.
    """
    lines: dict[str, dict[int, Row]] = {}
    for row in rows:
        name = f"{NAMES.get(row.shape, row.shape)}, {row.benchmark.partition(', ')[2] or row.engine}"
        common = [row.attention] if row.attention != "rfa" else []  # of random features their number is said
        common += [f"{getattr(row, other)} {other}" for other in AXES if other != axis and _matters(row, other)]
        lines.setdefault(", ".join([name, *common]), {})[getattr(row, axis)] = row
    return {name: [line[x] for x in sorted(line)] for name, line in lines.items() if len(line) > 1}


def _matters(row: Row, axis: str) -> bool:
    return bool(getattr(row, axis) > 1)


def growth(rows: Sequence[Row], axis: str, path: Path) -> bool:
    """Seconds (warm; dashed: cold), bytes and memory along `axis`; False where no rows differ along it."""
    lines = along(rows, axis)
    if not lines:
        return False
    figure = Figure(figsize=(11, 4), layout="constrained")
    for panel, (cost, label) in zip(figure.subplots(1, len(COSTS)), COSTS.items(), strict=True):
        for name, line in lines.items():
            places = [getattr(row, axis) for row in line]
            (drawn,) = panel.plot(places, [getattr(row, cost) for row in line], marker="o", label=name)
            if cost == "seconds":
                panel.plot(places, [row.cold_seconds for row in line], "--", color=drawn.get_color(), linewidth=0.8)
        ticks = sorted({getattr(row, axis) for line in lines.values() for row in line})
        panel.set(xlabel=axis, title=label, xscale="log", yscale="log")
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        _plain(panel.yaxis)
        panel.grid(alpha=0.3)
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    _save(figure, path)
    return True


def one_run(rows: Sequence[Row]) -> list[Row]:
    """The rows of the last command that measured both attentions: seconds of different runs are not compared."""
    runs: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        runs.setdefault((row.commit, row.command), []).append(row)
    both = [run for run in runs.values() if {row.attention for row in run} == {"rfa", "softmax"}]
    return both[-1] if both else []


def attentions(rows: Sequence[Row], path: Path) -> None:
    """Seconds and bytes of one layer against tokens, a line per attention, features and shape."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for panel, cost in zip(figure.subplots(1, 2), ("seconds", "megabytes"), strict=True):
        for name, line in along(rows, "tokens").items():
            panel.plot([row.tokens for row in line], [getattr(row, cost) for row in line], marker="o", label=name)
        panel.set(xlabel="tokens", title=COSTS[cost], xlim=0, ylim=0)
        panel.grid(alpha=0.3)
    panel.legend()
    _save(figure, path)


def side_by_side(rows: Sequence[Row], path: Path) -> None:
    """Seconds and bytes of engines, one group a shape; a later row replaces an earlier of the same engine."""
    latest = {(row.shape, row.engine, row.attention): row for row in rows}
    groups: dict[str, list[Row]] = {}
    for row in latest.values():
        groups.setdefault(row.shape, []).append(row)
    heights = [len(group) for group in groups.values()]
    figure = Figure(figsize=(11, 0.8 * len(groups) + 0.3 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), 2, squeeze=False, sharey="row", height_ratios=heights)
    for pair, (shape, group) in zip(panels, groups.items(), strict=True):
        colors = ["tab:blue" if row.engine == "embedded" else "tab:gray" for row in group]
        for panel, cost in zip(pair, ("seconds", "megabytes"), strict=True):
            values = [getattr(row, cost) for row in group]
            labels = [f" {value:,.0f}" if value >= 100 else f" {value:.3g}" for value in values]
            panel.bar_label(panel.barh(range(len(group)), values, color=colors), labels)
            panel.set(title=f"{NAMES.get(shape, shape)}: {COSTS[cost]}", xscale="log")
            panel.margins(x=0.15)
            panel.set_yticks(range(len(group)), [f"{row.engine}, {row.attention}" for row in group])
            _plain(panel.xaxis)
        pair[0].invert_yaxis()
    _save(figure, path)


def _plain(axis: Any) -> None:
    """Numbers as one writes them, not powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _save(figure: Any, path: Path) -> None:
    """Text stays text, and the same rows give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "secfwt"}):
        figure.savefig(path, metadata={"Date": None, "Creator": None})
