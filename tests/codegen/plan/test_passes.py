"""Passes: every one makes a plan that computes the same, in float64, and what they say they do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.plan_toys import HEADS, SMALL, inputs_for, model, weights_for
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Plan, Value
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.plan.passes import PASSES, RING_PASSES, place_prompt, run_passes

MODES: dict[str, dict[str, Any]] = {
    "no prompt": {"n_prompt_tokens": 0},
    "prompt at the input": {"prompt_layer": 0},
    "prompt at the last layer": {"prompt_layer": 2},
    "deep prompts": {"prompt_layer": 0, "deep": True},
    "frozen layer": {"prompt_layer": 1, "frozen_layers": 1},
    "softmax": {"attention": "softmax"},
    "paper": {"rfa_variant": "paper"},
    "relu2": {"rfa_variant": "relu2"},
}


def built(head: str, mode: str) -> tuple[Plan, GenOptions]:
    options = GenOptions(**{**SMALL, **MODES[mode]})
    return build_plan(model(head), options), options


def layers(plan: Plan) -> list[Value]:
    return [v for v in plan if v.kind == "encoder_layer"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("head", HEADS)
def test_every_pass_keeps_what_is_computed(head: str, mode: str) -> None:
    plan, options = built(head, mode)
    weights = weights_for(model(head), options)
    inputs = inputs_for(plan, 2, 3)
    if head == "masked_lm":
        last = inputs["mask"].sum(axis=1).astype(int) - 1
        inputs["select"] = np.eye(SMALL["sequence_length"])[np.minimum([1, 4, 2], last)]
    expected = run_plan(plan, weights, inputs)
    for count in range(1, len(RING_PASSES) + 1):
        got = run_plan(run_passes(plan, RING_PASSES[:count]), weights, inputs)
        for name, values in expected.items():
            np.testing.assert_allclose(got[name], values, rtol=1e-9, atol=1e-9, err_msg=RING_PASSES[count - 1].__name__)


@pytest.mark.parametrize("head", HEADS)
def test_the_plan_as_built_stays(head: str) -> None:
    plan, _ = built(head, "deep prompts")
    before = [replace(v) for v in plan]
    made = run_passes(plan, RING_PASSES)
    assert plan.values == before
    assert {v.number for v in made} <= {v.id for v in plan}
    assert [v.id for v in made] == list(range(len(made.values)))


@pytest.mark.parametrize("head", HEADS)
def test_layers_take_the_affine_part_below(head: str) -> None:
    plan, _ = built(head, "prompt at the input")
    made = run_passes(plan, PASSES)
    assert [v.weights["input_norm.gamma"] for v in layers(made)] == [
        "embeddings.gamma", "layers.0.output_norm.gamma", "layers.1.output_norm.gamma",
    ]  # fmt: skip
    # the head's own, and that of the last layer's output
    assert sum(v.kind == "affine" for v in made) == sum(v.kind == "affine" for v in plan) - 3


@pytest.mark.parametrize(
    ("head", "mode", "rows"),
    [
        ("classification", "prompt at the input", [9, 9, 1]),
        ("masked_lm", "prompt at the last layer", [7, 7, 1]),
        ("prototypes", "prompt at the input", [9, 9, 7]),
        ("prototypes", "no prompt", [7, 7, 7]),
        ("classification", "deep prompts", [7, 7, 1]),
        ("prototypes", "deep prompts", [7, 7, 7]),
    ],
)
def test_layers_compute_the_rows_that_are_read(head: str, mode: str, rows: list[int]) -> None:
    plan, _ = built(head, mode)
    made = run_passes(plan, PASSES)
    assert [v.shape[0] for v in layers(made)] == rows
    assert all((len(v.inputs) == 3) == (v.shape[0] < made[v.inputs[0]].shape[0]) for v in layers(made))


def test_prompt_rows_are_placed_behind_the_tokens() -> None:
    plan, _ = built("masked_lm", "deep prompts")
    placed = [v for v in place_prompt(plan) if "at" in v.attrs]
    assert {v.kind for v in placed} == {"insert", "insert_mask", "token_rows"}
    assert {v.attrs["at"] for v in placed} == {SMALL["sequence_length"]}


@pytest.mark.parametrize("mode", ["no prompt", "prompt at the last layer", "deep prompts"])
@pytest.mark.parametrize("head", HEADS)
def test_padding_is_zero_wherever_a_layer_above_attends_to_it(head: str, mode: str) -> None:
    plan, _ = built(head, mode)
    assert ["padding" in v.attrs for v in layers(run_passes(plan, RING_PASSES))] == [True, True, False]
    assert not any("padding" in v.attrs for v in run_passes(plan, PASSES))


@pytest.mark.parametrize("mode", ["no prompt", "prompt at the input"])
def test_a_mean_goes_into_the_last_layer_norm(mode: str) -> None:
    plan, _ = built("prototypes", mode)
    made = run_passes(plan, RING_PASSES)
    assert not [v for v in made if v.kind == "mean_rows"]
    assert [len(v.inputs) for v in layers(made)] == [2, 2, 4]
    assert layers(made)[-1].shape == (16,)
