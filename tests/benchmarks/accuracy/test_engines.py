"""Engines in the clear against the oracles: the model in torch, the ring program from tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import Machine, run_program
from secfwt.runtime.data.examples import Example
from secfwt.runtime.tuning.clear import ClearEngine
from secfwt.runtime.tuning.model import Model, load_model
from secfwt.runtime.tuning.objective import LabelledSet, PromptSpace
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.session import embed

from accuracy.clear import TorchEngine
from accuracy.fixed import FixedPointEngine, TabledMachine
from accuracy.methods import SILENT

TEXTS = ["good film", "a bad film", "it was very very good .", "the news was bad", "sport"]
LABELS = ["good", "bad", "good", "bad", "good"]
OPTIONS = {
    "sequence_length": 10, "n_prompt_tokens": 2, "prompt_layer": 1, "intrinsic_dim": 6, "prototype_shots": 0.0,
}  # fmt: skip


def model_and_set(directory: Path, **more: Any) -> tuple[Model, LabelledSet, np.ndarray]:
    options = TuneOptions(model=str(directory), **(OPTIONS | more))
    model = load_model(options, ["bad", "good"])
    examples = [Example(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    space = PromptSpace(model.plan, 1.0)
    z = space.coordinates(np.random.default_rng(0).normal(size=(3, space.dim)))
    return model, embed("train", examples, model, options, SILENT), z


@pytest.mark.parametrize("attention", ["softmax", "rfa"])
@pytest.mark.parametrize("more", [{}, {"deep": True, "prompt_layer": 0}, {"loss": "hinge"}])
def test_torch_engine_computes_what_the_oracle_does(directory: Path, attention: str, more: dict[str, Any]) -> None:
    model, examples, z = model_and_set(directory, engine="clear", attention=attention, **more)
    assert model.weights is not None
    oracle = ClearEngine(model.plan, {name: np.asarray(w, np.float64) for name, w in model.weights.items()})
    fast = TorchEngine(model, torch.float32)
    for engine in (oracle, fast):
        engine.load_examples("train", examples.batch)
    assert np.abs(fast.losses("train", z) - oracle.losses("train", z)).max() < 1e-4
    assert np.abs(fast.logits("train", z[1]) - oracle.logits("train", z[1])).max() < 1e-4
    half = TorchEngine(model, torch.bfloat16)
    half.load_examples("train", examples.batch)
    assert np.abs(half.losses("train", z) - oracle.losses("train", z)).max() < 0.1


def test_fixed_point_engine_is_the_oracle_bit_by_bit(directory: Path) -> None:
    model, examples, z = model_and_set(directory, engine="embedded")
    assert model.compiled is not None
    engine = FixedPointEngine(model.compiled)
    engine.load_examples("train", examples.batch)
    ring, inputs = model.compiled.ring, {**examples.batch.inputs, "z": z}
    words = {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("example")}
    words["z"] = encode(z, ring.inputs("candidate")[0].scale)
    expected = run_program(ring, engine.weights | words)
    scales = {o.name: ring[o.value].scale for o in ring.outputs}
    assert np.array_equal(engine.losses("train", z), decode(expected["loss"], scales["loss"]).ravel())
    assert np.array_equal(engine.logits("train", z[1]), decode(expected["logits"], scales["logits"])[1])


def test_lookup_tables_hold_the_oracles_values(directory: Path) -> None:
    model, *_ = model_and_set(directory, engine="embedded")
    assert model.compiled is not None
    ring = model.compiled.ring
    looked_up = [v for v in ring if v.kind == "fourier" and ring.fits[v.attrs["fit"]].format.phase_bits <= 16]
    assert looked_up, "no function of few bits: the tables would never be used"
    phases = np.random.default_rng(0).integers(-(2**63), 2**63, (2, 3, 50))
    tabled, plain = TabledMachine(ring.fits, {}), Machine(ring.fits, {})
    for v in looked_up:
        assert np.array_equal(tabled.run(v, phases), plain.run(v, phases))


def test_prompt_starts_as_separators(directory: Path) -> None:
    model, *_ = model_and_set(directory, engine="clear", attention="softmax", prompt_layer=0)
    assert model.weights is not None
    tables = {name: model.weights[f"embeddings.{name}"] for name in ("word", "position", "token_type")}
    separator = model.embedder.tokenizer.encode("").ids[-1]
    rows = tables["word"][separator] + tables["position"][1:3] + tables["token_type"][0]
    rows = (rows - rows.mean(-1, keepdims=True)) / rows.std(-1, keepdims=True)
    assert np.allclose(model.weights["prompt.p0"], rows, atol=1e-4)
