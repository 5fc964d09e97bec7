"""Frozen layers: what the data owner runs in the clear and what the parties run above it make the whole model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import toys
from secfwt.codegen.bundle import write_bundle
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.compile import compile_model
from secfwt.codegen.model.adapter import Adapter, Description
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.embed import Embedder
from secfwt.codegen.owners.frozen import FrozenLayers
from secfwt.codegen.owners.prepare import prepare_weights
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Stage, Visibility
from secfwt.codegen.plan.oracle import run_plan

TEXTS = ["a good film", "the news was very bad .", "sport"]
OPTIONS = GenOptions(sequence_length=10, n_prompt_tokens=2, prompt_layer=1, intrinsic_dim=6)


def logits(directory: Path, options: GenOptions) -> np.ndarray:
    """With softmax everywhere, so that frozen and other layers compute the same."""
    compiled = compile_model(directory, options)
    assert compiled.weights is not None
    assert compiled.embedder is not None
    inputs = dict(compiled.embedder.encode(TEXTS)[0])
    plan = build_plan(compiled.spec, replace(options, attention="softmax"))
    return run_plan(plan, compiled.weights, inputs)["logits"]


def test_rows_enter_above_the_frozen_layers(tmp_path: Path) -> None:
    toys.save_toy(tmp_path / "model", "bert", "classification")
    plain = replace(OPTIONS, n_prompt_tokens=0)
    whole = logits(tmp_path / "model", plain)
    split = logits(tmp_path / "model", replace(plain, frozen_layers=1))
    assert np.abs(whole - split).max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        replace(OPTIONS, frozen_layers=1),
        replace(OPTIONS, weights="public"),
        replace(OPTIONS, frozen_layers=1, min_owners=2, noise=1.0, max_evaluations=9),
    ],
)
def test_the_data_owner_gets_the_frozen_layers_and_the_program_does_not(options: GenOptions, tmp_path: Path) -> None:
    toys.save_toy(tmp_path / "model", "distilbert", "classification")
    compiled = compile_model(tmp_path / "model", options)
    write_bundle(compiled, tmp_path / "bundle", target="embedded")
    assert "layers.0." not in compiled.text
    embedder = Embedder.open(tmp_path / "bundle" / "data_owner")
    assert compiled.embedder is not None
    expected = compiled.embedder.encode(TEXTS)[0]["x"]
    assert np.array_equal(embedder.encode(TEXTS)[0]["x"], expected)
    frozen, compiled.embedder.frozen = compiled.embedder.frozen, None
    assert frozen is not None
    assert not np.allclose(compiled.embedder.encode(TEXTS)[0]["x"], expected, atol=0.1)


def test_an_adapter_leaves_frozen_layers_as_they_were_trained(tmp_path: Path) -> None:
    toys.save_toy(tmp_path, "bert", "classification")
    options = replace(OPTIONS, frozen_layers=1)
    spec = read_model(tmp_path, options)
    plain, _ = prepare_weights(tmp_path, spec, options)
    phases = {name: value for name, value in plain.items() if ".phase_" in name}
    adapted = {f"layers.{i}.v.bias": plain[f"layers.{i}.v.bias"] + 1 for i in range(2)}
    weights, embedder = prepare_weights(
        tmp_path, spec, options, Adapter(phases | adapted, Description(features=32, floor=0.02))
    )
    assert embedder.frozen is not None
    assert np.array_equal(embedder.frozen.weights["layers.0.v.bias"], plain["layers.0.v.bias"])
    assert np.array_equal(weights["layers.1.v.bias"], adapted["layers.1.v.bias"])
    rows = np.random.default_rng(0).normal(size=(2, 10, 32)).astype(np.float32)
    other = FrozenLayers(spec, replace(options, activation="relu"), embedder.frozen.weights)
    assert np.array_equal(embedder.frozen(rows, rows[..., 0] > 0), other(rows, rows[..., 0] > 0))


def test_with_public_weights_the_data_owner_may_know_every_value(tmp_path: Path) -> None:
    toys.save_toy(tmp_path, "bert", "classification")
    for weights, expected in (("private", Visibility.SECRET), ("public", Visibility.DATA)):
        options = replace(OPTIONS, weights=weights)
        plan = build_plan(read_model(tmp_path, options), options)
        assert {v.visibility for v in plan if v.stage == Stage.PAIR} == {expected}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"frozen_layers": 1}, "--frozen-layers is 1, --weights is public"),
        ({"n_prompt_tokens": 0}, "--weights is public, without a prompt"),
        ({"weights": "open"}, "--weights is 'open'"),
    ],
)
def test_what_public_weights_exclude(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemsFound, match=message):
        replace(OPTIONS, **{"weights": "public", **choices})


def test_a_prompt_below_is_refused() -> None:
    with pytest.raises(ProblemsFound, match="below the 2 frozen layers"):
        GenOptions(frozen_layers=2, prompt_layer=1)


def test_all_layers_frozen_is_refused(tmp_path: Path) -> None:
    toys.save_toy(tmp_path / "model", "bert", "classification")
    with pytest.raises(ProblemsFound, match="--frozen-layers is 2"):
        compile_model(tmp_path / "model", replace(OPTIONS, n_prompt_tokens=0, frozen_layers=2))
