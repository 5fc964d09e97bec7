"""What the float oracle keeps of a set of examples from step to step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy_decoders import HEAD_OPTIONS, save_decoder
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.prepare import prepare_weights, settled
from secfwt.codegen.plan import oracle
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.plan.oracle import OnExamples, run_plan


@pytest.mark.parametrize(("room", "again"), [(0, 4), (1 << 30, 0)])
def test_examples_are_computed_once_where_there_is_room(
    room: int, again: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    options = GenOptions(
        attention="softmax", sequence_length=36, n_prompt_tokens=2, prompt_layer=1, intrinsic_dim=4,
        **HEAD_OPTIONS["causal_lm"],
    )  # fmt: skip
    spec = read_model(tmp_path, options)
    options = settled(tmp_path, spec, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    plan = build_plan(spec, options)
    examples = embedder.encode(["good film", "a bad film", "the", "news"], ["good", "bad", "bad", "good"])[0]
    z = np.random.default_rng(0).normal(size=(3, 4))
    expected = run_plan(plan, weights, {**examples, "z": z})
    computed: list[Stage] = []
    evaluate = oracle._Executor.evaluate

    def counted(self: Any, plan: Any, stage: Stage, *more: Any) -> Any:
        computed.append(stage)
        return evaluate(self, plan, stage, *more)

    monkeypatch.setattr(oracle._Executor, "evaluate", counted)
    kept = OnExamples(plan, weights, examples, tile_bytes=1, kept_bytes=room)
    for _ in range(2):
        computed.clear()
        found = kept.run({"z": z})
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-12)
    assert computed.count(Stage.EXAMPLE) == again
    assert computed.count(Stage.PAIR) == 12
