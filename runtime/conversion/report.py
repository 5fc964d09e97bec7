"""A conversion's fidelity as a table to read and as a figure."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from ..run_folder import Json

COSINES = {
    "cosine_mean": "cosine to the original's embedding, mean",
    "cosine_q0.05": "the same, 5th percentile",
    "prompted_mean": "with random prompt rows, mean",
    "prompted_q0.05": "the same, 5th percentile",
}
LAYER = {
    "attention_distance": "attention distance",
    "attention_error": "error of the attention's output",
    "hidden_error": "error of the layer's rows",
}


def markdown(report: Json) -> str:
    """Tables: cosines, layers, what leaves an interval. `report`: `before` and `after` as `fidelity` gives them, and
    `outside`."""
    before, after = report["before"], report["after"]
    lines = [f"On {after['texts']} texts that were not trained on:", "", "| | before | after |", "|---|---|---|"]
    lines += [f"| {text} | {before[name]:.3f} | {after[name]:.3f} |" for name, text in COSINES.items()]
    lines += ["", "Before: random features, or merged heads, without training. Every cell: before → after.", ""]
    lines += ["| layer | " + " | ".join(LAYER.values()) + " |", "|---|" + "---|" * len(LAYER)]
    for i, (old, new) in enumerate(zip(before["layers"], after["layers"], strict=True)):
        lines.append(f"| {i} | " + " | ".join(f"{old[name]:.3f} → {new[name]:.3f}" for name in LAYER) + " |")
    lines += ["", "Share of values that leave the interval of their fit:", "", "| site | share |", "|---|---|"]
    lines += [f"| {site} | {share:.1e} |" for site, share in report["outside"].items() if share]
    within = sum(not share for share in report["outside"].values())
    lines.append(f"| {within} other sites | 0 |")
    return "\n".join(lines) + "\n"


def figure_png(report: Json) -> bytes:
    """Every layer's errors and the cosines, before and after."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    panels = figure.subplots(1, len(LAYER) + 1)
    for axes, (name, text) in zip(panels, LAYER.items(), strict=False):
        for when in ("before", "after"):
            axes.plot([layer[name] for layer in report[when]["layers"]], marker="o", label=when)
        axes.set(xlabel="layer", title=text, ylim=(0, None), xticks=range(len(report["after"]["layers"])))
        axes.title.set_size("small")
    places = range(len(COSINES))
    for i, when in enumerate(("before", "after")):
        panels[-1].barh([p + 0.4 * i for p in places], [report[when][name] for name in COSINES], 0.4, label=when)
    panels[-1].set(yticks=[p + 0.2 for p in places], xlim=(0, 1), title="cosine of embeddings")
    panels[-1].set_yticklabels(["mean", "5th percentile", "prompted", "prompted, 5th"], fontsize="small")
    panels[-1].title.set_size("small")
    panels[-1].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _png(figure)


def loss_png(history: list[Json]) -> bytes:
    """The loss and its parts over the steps, stage after stage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    at = 0
    for stage in dict.fromkeys(line["stage"] for line in history):
        lines = [line for line in history if line["stage"] == stage]
        axes.plot([at + line["step"] for line in lines], [line["loss"] for line in lines], label=stage)
        at += lines[-1]["step"]
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Adaptation (each stage has its own loss)")
    if history:
        axes.legend()
    return _png(figure)


def _png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()
