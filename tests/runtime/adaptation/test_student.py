"""The encoder in torch against the float oracle: what is trained is what the generated program computes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy_encoder import write_model
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.adapter import Adapter, Description
from secfwt.codegen.model.checkpoint import load_checkpoint
from secfwt.codegen.model.compatibility import check_fit
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.weights import FOLDED
from secfwt.codegen.owners.prepare import prepare_weights
from secfwt.codegen.plan.build import build_encoder
from secfwt.codegen.plan.oracle import run_plan

torch = pytest.importorskip("torch")
from secfwt.runtime.adaptation.student import Architecture, Rows, encode  # noqa: E402

TEXTS = ["the red boat runs", "a star shines over the small blue tree"]
TOKENS = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def adapter_tensors(variant: str, features: tuple[int, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    tensors = {}
    for i, count in enumerate(features):
        if variant != "paper":
            for side in (f"{FOLDED[variant]}_{which}" for which in ("query", "key")):
                tensors[f"layers.{i}.{side}.weight"] = rng.normal(size=(2 * count, 16)) / 20
                tensors[f"layers.{i}.{side}.bias"] = rng.normal(size=2 * count) / 20
        else:
            tensors[f"layers.{i}.features"] = rng.normal(size=(2, count, 8)) / 2
        tensors[f"layers.{i}.ffn_in.up"], tensors[f"layers.{i}.ffn_in.down"] = (
            rng.normal(size=(32, 3)), rng.normal(size=(3, 16))
        )  # fmt: skip
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def pooled(weights: dict[str, Any], inputs: dict[str, Any], shape: Architecture, *, adapted: bool) -> Any:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    rows = Rows(torch.from_numpy(inputs["mask"] > 0), torch.full((len(inputs["mask"]),), float(TOKENS)))
    x = rows.unpad(torch.from_numpy(inputs["x"])) * tensors["embeddings.gamma"] + tensors["embeddings.beta"]
    return encode(x, rows, tensors, shape, adapted=adapted)[1].numpy()


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("variant", ["folded", "paper", "relu2"])
@pytest.mark.parametrize("features", [(8, 8), (5, 9)])
def test_random_features_agree_with_the_float_oracle(model: Path, variant: Any, features: tuple[int, ...]) -> None:
    tensors = adapter_tensors(variant, features)
    adapter = Adapter(tensors, Description(features=list(features), variant=variant, floor=0.05))
    options = adapter.options(GenOptions(sequence_length=TOKENS, n_prompt_tokens=0, label_texts=("boat", "star")))
    spec = read_model(model, options)
    weights, embedder = prepare_weights(model, spec, options, adapter)
    inputs, _ = embedder.encode(TEXTS)
    expected = run_plan(build_encoder(spec, options), weights, inputs)["pooled"][0]
    shape = Architecture(2, 2, 16, spec.layer_norm_eps, features=features, variant=variant, floor=0.05)
    given = load_checkpoint(model, spec) | tensors  # the low-rank change still in its two factors
    np.testing.assert_allclose(pooled(given, inputs, shape, adapted=True), unit(expected), atol=2e-5)


def test_softmax_original_agrees_with_the_float_oracle(model: Path) -> None:
    options = GenOptions(
        sequence_length=TOKENS, n_prompt_tokens=0, attention="softmax", label_texts=("red boat", "blue star")
    )
    spec = read_model(model, options)
    weights, embedder = prepare_weights(model, spec, options)
    inputs, _ = embedder.encode(TEXTS)
    expected = run_plan(build_encoder(spec, options), weights, inputs)["pooled"][0]
    shape = Architecture(2, 2, 16, spec.layer_norm_eps)
    np.testing.assert_allclose(
        pooled(load_checkpoint(model, spec), inputs, shape, adapted=False), unit(expected), atol=1e-5
    )


def test_adapters_with_features_for_other_layers_are_refused(model: Path) -> None:
    adapter = Adapter({}, Description(features=[8, 8, 8], floor=0.05))
    options = adapter.options(GenOptions(sequence_length=TOKENS, n_prompt_tokens=0, label_texts=("boat", "star")))
    spec = read_model(model, replace(options, rfa_layer_features=()))
    with pytest.raises(ProblemsFound, match="features for 3 layers, the model has 2 layers"):
        check_fit(spec, options)
