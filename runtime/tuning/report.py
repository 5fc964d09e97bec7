"""What a finished run leaves behind: its result, prompt, evaluation and figures, and a summary to read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np

from ...codegen.commandline.texts import parse_json
from ..data.presets import CHOSEN
from ..engine import Engine, Floats, Left
from ..errors import SecfwtError
from ..evaluation.metrics import Interval
from ..evaluation.report import gain_line
from ..evaluation.results import FIGURE, JSON_FILE, Measured, files
from ..progress import clock
from ..reporting.figures import losses, png
from ..reporting.page import FILE as PAGE
from ..reporting.page import Facts, Reached, page
from ..reporting.settings import command, settings
from ..run_folder import Json
from .budget import shown
from .loop import Outcome
from .model import PublicModel
from .options import TuneOptions
from .run_folder import TuningRun
from .state import TuningState


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
    arrays = {"z": outcome.best_z, "shots": np.array(outcome.shots)} | ({} if prompt is None else {"p": prompt})
    figure = losses(run.history(), outcome.start_dev, f"Prompt tuning, engine: {engine.name}", (6.4, 4.0))
    written |= {"prompt.npz": _npz(arrays), "loss.png": png(figure)}
    for name, data in written.items():
        with run.writing(name):
            run.replace(name, data)
    return result


def write_page(run: TuningRun, facts: Facts, reached: Reached, measured: bool = False) -> None:
    """Put `report.html` beside the run's other files; `measured`: whether `evaluation.json` is this run's end."""
    evaluation = parse_json((run.path / JSON_FILE).read_text("utf-8")) if measured else {}
    with run.writing(PAGE):
        run.replace(PAGE, page(facts, reached, run.history(), evaluation).encode())


@contextmanager
def page_of_what_is_there(run: TuningRun, facts: Facts) -> Iterator[None]:
    """However the search ends before its time, the page shows how far it came; it says how to go on."""
    try:
        yield
    except BaseException:
        with suppress(OSError, SecfwtError):  # what has ended the run counts
            if state := run.load_state():
                write_page(run, facts, so_far(state))
        raise


def so_far(state: TuningState) -> Reached:
    """Of a run that goes on."""
    phases = {name: asdict(cost) for name, cost in state.phases.items()}
    return Reached(
        state.generation, state.evaluations, state.start_loss, state.best_train, state.start_dev, state.best_dev,
        state.rejected, phases, state.opened,
    )  # fmt: skip


def facts_of(
    run: TuningRun,
    options: TuneOptions,
    model: PublicModel,
    engine: Engine,
    data: tuple[Sequence[str], Mapping[str, int]],
) -> Facts:
    """What the page says of a run that begins, or goes on; `data`: its labels, and how many examples each set has."""
    labels, sizes = data
    values, prints = options.to_json(), run.read_options(run.path)[1]
    dim = model.plan.inputs("candidate")[0].size  # z's
    return Facts(
        model.name, model.described, engine.name, engine.private, labels, sizes, settings(TuneOptions, values), prints,
        model.plan.outputs, model.options.clear_layers, model.options.weights, options.search(dim).generations,
        command("secfwt-tune", TuneOptions, values, CHOSEN if options.data else ()),
        shlex.join(["secfwt-tune", "--resume", str(run.path)]),
    )  # fmt: skip


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
        *([f"shots        weight {result['shots']:g} beside label texts or words"] if result.get("shots") else []),
        f"dev loss     {result['start_dev']:.4f} -> {result['best_dev']:.4f}   (no tuning -> chosen prompt)",
    ]
    if result["test_tuned"] is None:
        few = "too few rows of logits are left under the program's limits"
        none = "give --test, or more examples than 2 x --k-shot a class"
        if result.get("owners"):
            none = "each data owner measures the prompt on its own"
        lines.append(f"test         {'not measured: ' + few if result['examples']['test'] else 'no test set: ' + none}")
    else:
        lines.append(
            f"test         {result['test_zero_shot']:.1%} -> {result['test_tuned']:.1%} accuracy of "
            f"{result['test_examples']} examples (zero-shot -> tuned)"
        )
        if result.get("gain") and (result["best_dev"] < result["start_dev"] or result.get("shots")):
            lines.append(f"gain         {gain_line(Interval(**result['gain']))}")
    if result["best_dev"] >= result["start_dev"]:
        rest = "shots without a prompt" if result.get("shots") else "the untuned one"
        lines.append(f"             no prompt was better on dev than none: the result is {rest}")
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
    if result.get("privacy"):
        lines.append(f"privacy      {result['privacy']['statement']}")
    if limited := shown(Left(**result["left"])):
        lines.append(f"limits       {limited} for these weights")
    return "\n".join(lines)
