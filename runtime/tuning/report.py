"""What a finished run leaves behind: its result, prompt, evaluation and figures, and a summary to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np

from ..engine import Engine, Floats, Left
from ..evaluation.metrics import Interval
from ..evaluation.report import gain_line
from ..evaluation.results import FIGURE, JSON_FILE, Measured, files
from ..progress import clock
from ..run_folder import Json
from .budget import shown
from .loop import Outcome
from .run_folder import TuningRun


def write_report(
    run: TuningRun,
    outcome: Outcome,
    engine: Engine,
    context: Mapping[str, Any],
    prompt: Floats | None,
    measured: Mapping[str, Measured] = MappingProxyType({}),
) -> Json:
    """Write the run's files and return what `result.json` holds.

    `measured`: the test set under none and under the best prompt. `context` (model, data sizes, wall seconds …) goes
    into the result as it is; `prompt` is p0 + A·z `[prompts, n, h]` where p0 is known.
    """
    result: Json = {"engine": engine.name, "private": engine.private, "left": asdict(engine.allowance()), **context}
    result |= {k: v for k, v in asdict(outcome).items() if k not in ("best_z", "test_logits")}
    written = {}
    if measured:
        content, written[FIGURE] = files(measured)
        run.write_json(JSON_FILE, content)
        result["accuracy"] = {name: content[name]["accuracy"] for name in measured}
        result["gain"] = content["gain"]
    run.write_json("result.json", result)
    arrays = {"z": outcome.best_z} | ({} if prompt is None else {"p": prompt})
    written |= {"prompt.npz": _npz(arrays), "loss.png": _plot(run.history(), outcome, engine.name)}
    for name, data in written.items():
        with run.writing(name):
            run.replace(name, data)
    return result


def _npz(arrays: Mapping[str, Floats]) -> bytes:
    file = BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def summary(result: Json) -> str:
    """The result in a few lines."""
    lines = []
    if not result["private"]:
        lines.append("NOT PRIVATE: the clear engine computed on weights and examples as they are")
    lines += [
        f"train loss   {result['start_loss']:.4f} -> {result['best_loss']:.4f}   (no tuning -> best candidate)",
        f"dev loss     {result['start_dev']:.4f} -> {result['best_dev']:.4f}   (no tuning -> chosen prompt)",
    ]
    if result["test_tuned"] is None:
        few = "too few rows of logits are left under the program's limits"
        none = "give --test, or more examples than 2 x --k-shot a class"
        lines.append(f"test         {'not measured: ' + few if result['examples']['test'] else 'no test set: ' + none}")
    else:
        lines.append(
            f"test         {result['test_zero_shot']:.1%} -> {result['test_tuned']:.1%} accuracy of "
            f"{result['test_examples']} examples (zero-shot -> tuned)"
        )
        if result.get("gain") and result["best_dev"] < result["start_dev"]:
            lines.append(f"gain         {gain_line(Interval(**result['gain']))}")
    if result["best_dev"] >= result["start_dev"]:
        lines.append("             no prompt was better on dev than none: the result is the untuned one")
    if result["rejected"]:
        lines.append(
            f"rejected     {result['rejected']} of {result['evaluations']} candidates: no loss can be what theirs was"
        )
    if result.get("unhealthy"):
        lines.append(
            f"health       values left the calibrated ranges in {result['unhealthy']} of {result['generations']} "
            "generations"
        )
    cost = result["cost"]
    spent = (
        f"{cost['seconds']:.1f} s computing, {cost['bytes_sent'] / 1e6:.1f} MB between parties, "
        f"{cost['rounds']} rounds, peak memory {cost['peak_bytes'] / 1e6:.0f} MB"
    )
    if result["private"] and not cost["rounds"]:
        spent = "what the parties sent is in their own logs"
    lines += [
        f"search       {result['generations']} generations, {result['evaluations']} evaluations; {result['stopped']}",
        f"cost         {clock(result['wall_seconds'])} in all, {spent}",
    ]
    if limited := shown(Left(**result["left"])):
        lines.append(f"limits       {limited} for these weights")
    return "\n".join(lines)


def _plot(history: list[Json], outcome: Outcome, engine: str) -> bytes:
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    generations = [line["generation"] for line in history]
    losses = [[v for v in line["losses"] if v is not None] for line in history]
    axes.fill_between(generations, [min(v) for v in losses], [max(v) for v in losses], alpha=0.2, label="train, all")
    axes.plot(generations, [float(np.mean(v)) for v in losses], label="train, mean")
    dev = [(line["generation"], min(v for v in line["dev"] if v is not None)) for line in history
           if any(v is not None for v in line.get("dev", []))]  # fmt: skip
    axes.plot([0, *(g for g, _ in dev)], [outcome.start_dev, *(v for _, v in dev)], marker="o", label="dev, best")
    axes.set(xlabel="generation", ylabel="loss", title=f"Prompt tuning, engine: {engine}")
    axes.legend()
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()
