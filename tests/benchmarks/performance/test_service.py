"""What the parties of a benchmark are given: random weights, encoded in program order, where there is room."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.benchmark_rows import TOY
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.builder import RingBuilder

from performance import layer, service
from performance.models import RandomWeights, model_weights


def test_weights_are_the_same_at_every_reading_and_in_every_plan() -> None:
    options = GenOptions(rfa_features=4, attention="rfa")
    rfa, softmax = (layer.encoder_plan(TOY, 4, 2, 4, attention) for attention in ("rfa", "softmax"))
    weights, both = RandomWeights(TOY, options, rfa), RandomWeights(TOY, options, rfa, softmax)
    assert weights.keys() < both.keys()
    assert "layers.1.q.weight" in both
    for name in weights:
        np.testing.assert_array_equal(weights[name], both[name])
    assert not any("log_sum" in name for name in both), "these are no random values"
    assert not np.array_equal(weights["layers.0.v.weight"], weights["layers.1.v.weight"])


def test_a_model_too_large_for_the_machine_is_refused_before_anything_starts() -> None:
    r = RingBuilder()
    r.weight("w", (30_000, 10_000), 16, lambda _: np.zeros(0))
    service.check_memory(r.program, 16_800_000_000)
    with pytest.raises(
        service.MemoryShort, match=r"300 million weights need 16.8 GB: 4.8 GB at each .* 16.7 GB are free: nothing was"
    ):
        service.check_memory(r.program, 16_700_000_000)


def test_weights_are_encoded_in_program_order() -> None:
    plan = layer.encoder_plan(TOY, 4, 1, 4)
    weights = RandomWeights(TOY, GenOptions(rfa_features=4, attention="rfa"), plan)
    lowered = service.lowered(plan, weights, layer.layer_inputs(TOY, 4))
    for value, given in zip(lowered.ring.inputs("weight"), service.folded(lowered, weights), strict=True):
        fold = lowered.folds[value.attrs["name"]]
        exact = np.asarray(fold.make(weights)) * 2.0**fold.scale
        np.testing.assert_allclose(given.words.astype(float), exact, atol=0.5 + 1e-9)
        assert given.ring == value.ring


def test_log_sums_of_random_weights_are_estimated_on_other_rows() -> None:
    options = layer.encoder_options(8, 0, "softmax")
    plan = layer.encoder_plan(TOY, 8, 1, 0, "softmax")
    weights = model_weights(TOY, options, plan, layer.layer_inputs(TOY, 8, 64, seed=2))
    seen: dict[str, np.ndarray] = {}
    run_plan(plan, weights, layer.layer_inputs(TOY, 8, 64), observe=seen.__setitem__)
    assert 0.8 < np.median(seen["layers.0.row_sum"]) < 1.25  # 1 where an estimate is right
    fixed = dict(weights) | {"layers.0.log_sum.weight": np.zeros((TOY.heads, TOY.hidden))}
    run_plan(plan, fixed, layer.layer_inputs(TOY, 8, 64), observe=(worse := {}).__setitem__)
    assert np.std(np.log(worse["layers.0.row_sum"])) > np.std(np.log(seen["layers.0.row_sum"]))
