"""Model plans: stages, inputs, outputs and losses; calibration."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from helpers.plan_toys import HEADS, SMALL, inputs_for, model, weights_for
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.calibration import calibrate, outward
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Stage, Visibility
from secfwt.codegen.plan.oracle import run_plan


@pytest.mark.parametrize("layer", [0, 2])
def test_everything_below_the_prompt_is_computed_once_an_example(layer: int) -> None:
    plan = build_plan(model("prototypes"), GenOptions(prompt_layer=layer, **SMALL))
    stages = [v.stage for v in plan if v.kind == "encoder_layer"]
    assert stages == [Stage.EXAMPLE] * layer + [Stage.PAIR] * (3 - layer)
    assert [v.shape[0] for v in plan if v.kind == "encoder_layer"] == [7] * layer + [9] * (3 - layer)
    assert {v.stage for v in plan if v.kind in ("prompt", "mean_examples")} == {Stage.CANDIDATE}
    assert [v.attrs["value"] for v in plan if v.kind == "insert_mask"] == [1.0, 0.0]
    assert all(v.visibility is Visibility.SECRET for v in plan if v.stage == Stage.PAIR)


@pytest.mark.parametrize(
    ("head", "more"), [("classification", set()), ("masked_lm", {"select"}), ("prototypes", {"select"})]
)
def test_inputs_and_outputs(head: str, more: set[str]) -> None:
    plan = build_plan(model(head), GenOptions(**SMALL))
    assert {v.attrs["name"] for v in plan.inputs("example")} == {"x", "mask", "labels", "example_weight"} | more
    assert [v.attrs["name"] for v in plan.inputs("candidate")] == ["z"]
    assert [(o.name, o.max_candidates) for o in plan.outputs] == [("loss", None), ("logits", 1)]
    assert plan[plan.outputs[1].value].shape == (HEADS[head].num_labels,)
    revealing = build_plan(model(head), GenOptions(reveal="logits", **SMALL))
    assert revealing.outputs[1].max_candidates is None
    json.dumps(plan.meta)


@pytest.mark.parametrize("head", HEADS)
def test_tiles_do_not_change_results(head: str) -> None:
    spec, options = model(head), GenOptions(prompt_layer=1, **SMALL)
    plan = build_plan(spec, options)
    inputs, weights = inputs_for(plan, 4, 5), weights_for(spec, options)
    whole = run_plan(plan, weights, inputs)
    assert whole["loss"].shape == (4,)
    assert whole["logits"].shape == (4, 5, HEADS[head].num_labels)
    for tile in (1, 20_000, 60_000):
        parts = run_plan(plan, weights, inputs, tile_bytes=tile)
        for name, value in whole.items():
            np.testing.assert_allclose(parts[name], value, rtol=1e-9)


def test_losses() -> None:
    spec = model("classification")
    for name in ("ce", "hinge"):
        options = GenOptions(loss=name, margin=1.5, **SMALL)  # type: ignore[arg-type]
        plan = build_plan(spec, options)
        inputs = inputs_for(plan, 3, 4)
        outputs = run_plan(plan, weights_for(spec, options), inputs)
        logits, labels = outputs["logits"], inputs["labels"]
        right = (logits * labels).sum(-1)
        if name == "ce":
            each = np.log(np.exp(logits).sum(-1)) - right
        else:
            each = (np.maximum(0, 1.5 + logits - right[..., None]) * (1 - labels)).sum(-1)
        np.testing.assert_allclose(outputs["loss"], each @ inputs["example_weight"][:, 0])


def test_prompt_rows_are_never_pooled_and_padding_is_never_attended_to() -> None:
    spec, options = model("prototypes"), GenOptions(**SMALL)
    plan = build_plan(spec, options)
    inputs, weights = inputs_for(plan, 2, 3), weights_for(spec, options)
    inputs["select"] = inputs["mask"] / inputs["mask"].sum(-1, keepdims=True)
    before = run_plan(plan, weights, inputs)["logits"]
    inputs["x"][inputs["mask"] == 0] = 100.0
    np.testing.assert_allclose(run_plan(plan, weights, inputs)["logits"], before, rtol=1e-9)


def test_calibration_sees_live_rows_only_and_rounds_outward() -> None:
    spec, options = model("masked_lm"), GenOptions(**SMALL)
    plan = build_plan(spec, options)
    inputs, weights = inputs_for(plan, 2, 3), weights_for(spec, options)
    seen: dict[str, list[Any]] = {}
    run_plan(plan, weights, inputs, observe=lambda site, values: seen.setdefault(site, []).append(values))
    live = int((inputs["mask"].sum(-1) + 2).sum()) * 2
    assert sum(v.size for v in seen["layers.0.activation"]) == live * 24
    assert sum(v.size for v in seen["layers.2.den"]) == live * 4
    ranges = calibrate(plan, weights, [inputs, inputs])
    json.dumps(ranges)
    sites = {f"layers.{i}.{s}" for i in range(3) for s in ("activation", "attention_var", "output_var", "den", "value")}
    assert sites | {"head.dense", "head.norm_var", "loss.diff"} <= ranges.keys()
    for site, found in ranges.items():
        values = np.concatenate(seen[site])
        assert found["min"] <= values.min() <= found["q0.0001"] + 1e-3 * abs(found["q0.0001"]) + abs(found["max"])
        assert found["q0.9999"] <= found["max"]
        assert values.max() <= found["max"] <= values.max() + 0.011 * abs(values.max())


@pytest.mark.parametrize(("x", "low", "high"), [(0.0012345, 0.00123, 0.00124), (-98765.0, -98800, -98700), (0.0, 0, 0)])
def test_outward(x: float, low: float, high: float) -> None:
    assert (outward(x, up=False), outward(x, up=True)) == (low, high)
