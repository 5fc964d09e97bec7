"""The accuracy benchmark's engines against the oracles, its data, and its rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from secfwt.codegen.fixed_point import decode, encode
from secfwt.codegen.oracle_fixed import run_program
from secfwt.runtime.clear import ClearEngine
from secfwt.runtime.data import Example
from secfwt.runtime.model_source import Model, load_model
from secfwt.runtime.objective import LabelledSet, PromptSpace
from secfwt.runtime.progress import PlainDisplay
from secfwt.runtime.session import embed
from secfwt.runtime.tune_options import TuneOptions
from toys import save_sentence_transformer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from accuracy_clear import TorchEngine
from accuracy_fixed import FixedPointEngine, TabledMachine

TEXTS = ["good film", "a bad film", "it was very very good .", "the news was bad", "sport"]
LABELS = ["good", "bad", "good", "bad", "good"]
OPTIONS = {"sequence_length": 10, "n_prompt_tokens": 2, "prompt_layer": 1, "intrinsic_dim": 6}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_sentence_transformer(path, "bert")
    return path


class Silent(PlainDisplay):
    def __init__(self) -> None:
        """No console."""

    def note(self, text: str) -> None:
        """Nothing."""


def model_and_set(directory: Path, **more: Any) -> tuple[Model, LabelledSet, np.ndarray]:
    options = TuneOptions(model=str(directory), **(OPTIONS | more))
    model = load_model(options, ["bad", "good"])
    examples = [Example(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    space = PromptSpace(model.plan, 1.0)
    z = space.coordinates(np.random.default_rng(0).normal(size=(3, space.dim)))
    return model, embed("train", examples, model, options, Silent()), z


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
    expected = run_program(ring, model.compiled.program.fits, engine.weights | words)
    scales = {o.name: ring[o.value].scale for o in ring.outputs}
    assert np.array_equal(engine.losses("train", z), decode(expected["loss"], scales["loss"]).ravel())
    assert np.array_equal(engine.logits("train", z[1]), decode(expected["logits"], scales["logits"])[1])


def test_lookup_tables_hold_the_oracles_values(directory: Path) -> None:
    model, *_ = model_and_set(directory, engine="embedded")
    assert model.compiled is not None
    fits = model.compiled.program.fits
    looked_up = [v for v in model.compiled.ring if v.kind == "fourier" and fits[v.attrs["fit"]].k <= 16]
    assert looked_up, "no function of few bits: the tables would never be used"
    phases = np.random.default_rng(0).integers(-(2**63), 2**63, (2, 3, 50))
    tabled, plain = TabledMachine(fits, {}), super(TabledMachine, TabledMachine(fits, {}))
    for v in looked_up:
        assert np.array_equal(tabled.run(v, phases), plain._fourier(v, phases))
