"""Intervals that serve a model: calibrated on what will run, tried in the clear, widened where that helps, or refused.

Calibration leaves out 0.01 % of an activation's values at either end, as every unit of width costs harmonics in all
rows. Trained models hardly notice. Others do: MiniLM with untrained random features has one value in 5,000 beyond ±17,
and -31 among them, which a series on ±21 makes -10 of instead of 0. So a program is tried before anybody gets it: in
the ring, against the model in floating point, on some of the texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .commandline.problems import Problem, ProblemsFound
from .lowering.program import Lowered, lower
from .model.options import GenOptions
from .model.weights import Weights, Widened
from .owners.calibration import calibrate, with_outliers
from .owners.log_sum import log_sums
from .owners.reach import Reaches
from .plan.graph import Plan
from .plan.oracle import Session as PlanSession
from .plan.oracle import run_plan
from .ring.encoding import Words, decode, encode
from .ring.oracle import Session as ProgramSession
from .ring.oracle import run_program
from .series.ranges import Ranges

Inputs = Mapping[str, NDArray[Any]]
"""Of a plan: examples `[E, *shape]` and candidates `[C, *shape]` by name."""
TRIED = 2
"""Examples that a program is tried on, under one candidate."""
TRIED_STEPS = 4
"""Steps behind each, of a program that generates."""
WIDENED = 0.05
"""Error from which on intervals are widened to the outliers, in the units of `ACCEPTED`."""
ACCEPTED = 0.1
"""Largest error of a logit or loss, in units of the largest logit (of 1, where all are smaller). MiniLM errs by 0.01
to 0.04 with softmax, by 0.006 with the shipped adapter, by 0.6 with untrained random features in all six layers."""


def serve(
    plan: Plan,
    weights: Weights,
    options: GenOptions,
    inputs: Sequence[Inputs],
    *,
    adapted: bool,
    known: Mapping[str, dict[str, float]] | None = None,
    more: Sequence[Inputs] = (),
) -> Lowered:
    """The ring program of a plan, right on `inputs`, which intervals and estimates are taken from.

    The plan gets its intervals (`calibration`), the weights their estimates (`log_sum`, `reach`). `adapted`: the
    weights are an adapter's. `known`: intervals that it was trained with, which count; `more` shows its neurons.
    Raises `ProblemsFound` where none serve.
    """
    observe(plan, weights, options, inputs, more)
    plan.meta["calibration"] |= known or {}
    lowered, wrong = _tried(plan, weights, inputs)
    if not wrong <= WIDENED:
        plan.meta["calibration"] = with_outliers(plan.meta["calibration"])
        lowered, wrong = _tried(plan, weights, inputs)
    if not wrong <= ACCEPTED:
        raise ProblemsFound([Problem(
            "error",
            f"tried on calibration text, the program's results are wrong by {wrong:.2g} of the largest logit, accepted "
            f"is {ACCEPTED:g}",
            _advice(options, adapted),
        )])  # fmt: skip
    return lowered


def observe(
    plan: Plan, weights: Weights, options: GenOptions, inputs: Sequence[Inputs], more: Sequence[Inputs] = ()
) -> None:
    """Put what inputs show of a model into its plan (`calibration`) and its weights: how far neurons go (`reach`), also
    on `more` inputs, and, for softmax, log-sum-exps (`log_sum`)."""
    if options.attention == "softmax":
        weights |= log_sums(plan, weights, inputs)
    reaches = Reaches(plan)
    plan.meta["calibration"] = calibrate(plan, weights, inputs, reaches.see)
    for each in more:
        run_plan(plan, weights, each, observe=reaches.see, dtype=np.float32)
    weights |= reaches.weights()


def _tried(plan: Plan, weights: Weights, inputs: Sequence[Inputs]) -> tuple[Lowered, float]:
    """The program with the plan's intervals, and its largest error on some of each of the inputs, relative as
    `ACCEPTED` is."""
    wide = Widened(weights)
    lowered = lower(plan, wide, Ranges(plan.meta["calibration"]))
    words = lowered.words(wide)
    return lowered, float(np.max([_error(plan, weights, lowered, words, _some(plan, each)) for each in inputs]))


def _error(plan: Plan, weights: Weights, lowered: Lowered, words: Mapping[str, Words], inputs: Inputs) -> float:
    ring = lowered.ring
    if "rows" in inputs:
        return _error_of_steps(plan, weights, lowered, words, inputs)
    given = {
        v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale)
        for kind in ("kept", "example", "candidate") for v in ring.inputs(kind)
    }  # fmt: skip
    got, exact = run_program(ring, {**words, **given}), run_plan(plan, weights, inputs)
    errors = [
        np.abs(decode(got[o.name], ring[o.value].scale).reshape(-1) - exact[o.name].reshape(-1)).max()
        for o in ring.outputs if o.name in ("loss", "logits")
    ]  # fmt: skip
    return float(np.max(errors) / max(1.0, np.abs(exact["logits"]).max()))  # NaN stays NaN


def _error_of_steps(
    plan: Plan, weights: Weights, lowered: Lowered, words: Mapping[str, Words], inputs: Inputs
) -> float:
    """The same of a program that generates: what the last row of each text and a few steps open, in logits."""
    ring = lowered.ring
    given = {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("example")}
    (step,) = ring.inputs("candidate")
    tied = plan[plan.outputs[0].value].kind == "opened_row"
    table = weights["embeddings.word"].T if tied else None
    scale = ring[ring.outputs[0].value].scale
    errors, largest = [], 1.0

    def compare(got: Words, exact: NDArray[Any]) -> None:
        nonlocal largest
        pair = [np.asarray(x if table is None else x @ table) for x in (decode(got, scale), exact)]
        errors.append(float(np.abs(pair[0] - pair[1]).max()))
        largest = max(largest, float(np.abs(pair[1]).max()))

    for e in range(len(inputs["rows"])):
        rows = inputs["rows"][e : e + 1]
        one = {name: values[e : e + 1] for name, values in inputs.items()}
        ours = ProgramSession(ring, {**words, **{name: values[e : e + 1] for name, values in given.items()}})
        theirs = PlanSession(plan, weights, one)
        compare(ours.example("first"), theirs.example("first"))
        n = step.shape[0]
        for at in range(0, min(TRIED_STEPS * n, rows.shape[1] - n + 1), n):
            part = rows[:, at : at + n]
            got = ours.step("next", {"rows": encode(part, step.scale)}, at)
            compare(got[0], theirs.step("next", part, at))
    return float(np.max(errors) / largest)


def _some(plan: Plan, inputs: Inputs) -> dict[str, NDArray[Any]]:
    """A few of the examples, far from each other, under the last candidate."""
    some = dict(inputs)
    for v in plan.inputs("example"):
        name = v.attrs["name"]
        count = len(inputs[name])
        some[name] = inputs[name][:: max(1, count // TRIED)][:TRIED]
    if "rows" in inputs:
        return some | {"rows": inputs["rows"][:: max(1, len(inputs["rows"]) // TRIED)][:TRIED]}
    some["example_weight"] = np.full((len(some["mask"]), 1), 1 / len(some["mask"]))
    return some | {v.attrs["name"]: inputs[v.attrs["name"]][-1:] for v in plan.inputs("candidate")}


def _advice(options: GenOptions, adapted: bool) -> str:
    if options.head == "tokens":
        return "Its values spread too far for short series. Fewer --max-new-tokens, or a longer text, may help."
    if options.attention == "softmax":
        return "Its values spread too far for short series. Give --attention rfa and an adapter (secfwt-convert)."
    if adapted:
        return "The adapter does not serve it. Give another (secfwt-convert), or --attention softmax without."
    return "Untrained random features do not serve it. Give --attention softmax, or an adapter (secfwt-convert)."
