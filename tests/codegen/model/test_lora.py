"""LoRA adapters: the logits are PEFT's, and what is no plain LoRA of this model is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from helpers import toys
from helpers.toy_decoders import save_decoder
from helpers.toy_lora import save_lora
from safetensors.numpy import load_file, save_file
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.lora.choice import choose_head, choose_weights
from secfwt.codegen.model.lora.reading import read_lora
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES, prepare_weights, settled
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.oracle import run_plan

TEXTS = ("a good film", "bad", "the news was good, very good.")
PLAIN = GenOptions(attention="softmax", sequence_length=36, n_prompt_tokens=0)
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft


def opened(model: Path, adapter: Path, options: GenOptions) -> tuple[GenOptions, Any, Any, Any]:
    spec = read_model(model, options)
    options, lora = choose_weights(spec, options, adapter)
    options = settled(model, spec, options, lora)
    weights, embedder = prepare_weights(model, spec, options, lora=lora)
    return options, spec, weights, embedder


def logits(model: Path, adapter: Path, options: GenOptions) -> tuple[Any, Any, Any]:
    options, spec, weights, embedder = opened(model, adapter, options)
    inputs = embedder.encode(TEXTS)[0]
    base = replace(options, weights="private", frozen_layers=0, private_tensors=())
    token = (
        first_token(embedder.tokenizer, spec, prepare_weights(model, spec, base)[0], PROBES) if spec.causal else None
    )
    return run_plan(build_plan(spec, options), weights, inputs)["logits"][0], embedder, token


ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "query and value": ("bert", {"target_modules": ["query", "value"]}),
    "all matrices": ("roberta", {"target_modules": "all-linear", "task_type": "SEQ_CLS"}),
    "top layer": ("distilbert", {"target_modules": ["q_lin", "ffn.lin1"], "layers_to_transform": [1]}),
    "patterns": (
        "bert",
        {
            "target_modules": ["query", "value", "output.dense"],
            "rank_pattern": {"query": 2, r"layer\.1\.output\.dense": 5}, "alpha_pattern": {"value": 1.5},
            "use_rslora": True, "bias": "all",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("weights", ["private", "base"])
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_computes_what_peft_does(name: str, weights: Any, tmp_path: Path) -> None:
    family, config = ENCODERS[name]
    model = toys.save_toy(tmp_path / "model", family, "classification")
    wrapped = save_lora(tmp_path / "lora", model, **config)
    got, embedder, _ = logits(tmp_path / "model", tmp_path / "lora", replace(PLAIN, weights=weights))
    assert (embedder.frozen is not None) == (weights == "base" and name == "top layer")
    ids = [embedder.tokens((text,)).ids for text in TEXTS]
    with torch.no_grad():
        expected = [wrapped(input_ids=torch.tensor([each])).logits[0] for each in ids]
    np.testing.assert_allclose(got, torch.stack(expected).numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_classifier_may_come_with_the_adapter_alone(family: str, tmp_path: Path) -> None:
    """The base is a bare encoder, as what sentence encoders are made of."""
    toys.save_toy(tmp_path / "model", family, "prototypes")
    kind = transformers.AutoModelForSequenceClassification
    model = kind.from_pretrained(tmp_path / "model", num_labels=3).eval()
    wrapped = save_lora(tmp_path / "lora", model, target_modules=["query"], task_type="SEQ_CLS")
    options = choose_head(tmp_path / "model", PLAIN, tmp_path / "lora")
    assert (options.head, options.brought_labels) == ("classification", 3)
    assert read_model(tmp_path / "model", options).head.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    got, embedder, _ = logits(tmp_path / "model", tmp_path / "lora", replace(options, weights="base"))
    ids = [embedder.tokens((text,)).ids for text in TEXTS]
    with torch.no_grad():
        expected = [wrapped(input_ids=torch.tensor([each])).logits[0] for each in ids]
    np.testing.assert_allclose(got, torch.stack(expected).numpy(), rtol=1e-4, atol=1e-4)
    words = replace(PLAIN, label_texts=("good", "bad", "news"))
    assert choose_head(tmp_path / "model", words, tmp_path / "lora") == words  # it is not asked for


DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1]}),
    "qwen2": ("qwen2", {"target_modules": "all-linear", "bias": "lora_only"}),
    "gpt2": ("gpt2", {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True, "r": 5}),
}


@pytest.mark.parametrize("weights", ["private", "base"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_computes_what_peft_does(name: str, weights: Any, tmp_path: Path) -> None:
    family, config = DECODERS[name]
    model = save_decoder(tmp_path / "model", family, "causal_lm")
    wrapped = save_lora(tmp_path / "lora", model, **config)
    options = replace(
        PLAIN, sequence_length=56, label_words=("good", "bad"), template="{text} So it is", weights=weights
    )
    got, embedder, token = logits(tmp_path / "model", tmp_path / "lora", options)
    words = [embedder.tokenizer.encode(f" {w}", add_special_tokens=False).ids[0] for w in options.label_words]
    for row, text in zip(got, TEXTS, strict=True):
        ids = torch.tensor([[token, *embedder.tokens((text,)).ids]])
        with torch.no_grad():
            expected = wrapped(input_ids=ids).logits[0, -1, words].numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("choices", "frozen"),
    [
        ({}, 1), ({"weights": "base"}, 1), ({"weights": "private"}, 0), ({"weights": "private", "frozen_layers": 1}, 1),
        ({"n_prompt_tokens": 2, "prompt_layer": 1}, 1), ({"n_prompt_tokens": 2}, 0),
    ],
)  # fmt: skip
def test_layers_below_adapter_and_prompt_are_frozen(choices: dict[str, Any], frozen: int, tmp_path: Path) -> None:
    model = toys.save_toy(tmp_path / "model", "bert", "classification")
    save_lora(tmp_path / "lora", model, target_modules=["query"], layers_to_transform=[1])
    options = replace(PLAIN, **{"weights": "auto", **choices})
    options, spec, _, embedder = opened(tmp_path / "model", tmp_path / "lora", options)
    assert options.clear_layers == frozen
    assert options.private_tensors == (("layers.1.q.weight",) if options.weights == "base" else ())
    kept = {name.split(".")[1] for name in (embedder.frozen.weights if embedder.frozen else {}) if "layers" in name}
    assert kept == {str(i) for i in range(frozen)}
    assert {v.attrs["layer"] for v in build_plan(spec, options) if v.kind == "encoder_layer"} == {*range(frozen, 2)}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"frozen_layers": 1, "weights": "private"}, "--frozen-layers is 1, the adapter changes layer 0"),
        ({"frozen_layers": 1, "weights": "auto"}, "--frozen-layers is 1, --lora is given"),
    ],
)
def test_frozen_layers_that_would_tell_are_refused(choices: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = toys.save_toy(tmp_path / "model", "bert", "classification")
    save_lora(tmp_path / "lora", model, target_modules=["query"])
    with pytest.raises(ProblemsFound, match=message):
        opened(tmp_path / "model", tmp_path / "lora", replace(PLAIN, **choices))


def test_a_base_without_an_adapter_is_refused(tmp_path: Path) -> None:
    toys.save_toy(tmp_path, "bert", "classification")
    with pytest.raises(ProblemsFound, match="--weights is base, without --lora"):
        choose_weights(read_model(tmp_path, PLAIN), replace(PLAIN, weights="base"), None)


@pytest.mark.parametrize(
    ("choices", "adapter", "message"),
    [
        ({}, False, "--lora-products is factored, without --lora"),
        ({"weights": "private"}, True, "--lora-products is factored, --weights is private"),
    ],
)
def test_factors_of_nothing_public_are_refused(
    choices: dict[str, Any], adapter: bool, message: str, tmp_path: Path
) -> None:
    model = toys.save_toy(tmp_path / "model", "bert", "classification")
    save_lora(tmp_path / "lora", model, target_modules=["query"])
    options = replace(PLAIN, lora_products="factored", **choices)
    with pytest.raises(ProblemsFound, match=message):
        choose_weights(read_model(tmp_path / "model", PLAIN), options, tmp_path / "lora" if adapter else None)


Tensors = dict[str, Any]


def lacks_a_factor(tensors: Tensors) -> None:
    del tensors["base_model.model.bert.encoder.layer.1.attention.self.query.lora_A.weight"]


def of_another_rank(tensors: Tensors) -> None:
    name = "base_model.model.bert.encoder.layer.1.attention.self.query.lora_B.weight"
    tensors[name] = tensors[name][:, :2].copy()


def not_finite(tensors: Tensors) -> None:
    next(iter(tensors.values()))[0, 0] = np.nan


def of_another_model(tensors: Tensors) -> None:
    for name in list(tensors):
        tensors[name.replace("layer.1", "layer.7")] = tensors.pop(name)


def of_embeddings(tensors: Tensors) -> None:
    tensors["base_model.model.bert.embeddings.word_embeddings.weight"] = np.zeros((27, 32), np.float32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacks_a_factor, "the adapter lacks lora_A of bert"),
        (of_another_rank, r"lora_B of .*query has shape \[32, 2\]\n  Expected \[32, 3\]; adapter_config.json says r"),
        (not_finite, "holds NaN or infinity"),
        (of_another_model, r"layer\.7.*: the model has no such part"),
        (of_embeddings, "The data owner holds embeddings in the clear"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(spoil: Callable[[Tensors], None], message: str, tmp_path: Path) -> None:
    model = toys.save_toy(tmp_path / "model", "bert", "classification")
    save_lora(tmp_path / "lora", model, target_modules=["query"])
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    spoil(tensors)
    save_file(tensors, tmp_path / "lora" / "adapter_model.safetensors")
    with pytest.raises(ProblemsFound, match=message):
        read_lora(tmp_path / "lora", read_model(tmp_path / "model", PLAIN))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"use_dora": True}, "use_dora is true\n  Plain LoRA has no such part"),
        ({"something_new": {"a": 1}}, "something_new is"),
        ({"peft_type": "IA3"}, "an adapter of type IA3"),
        ({"init_lora_weights": "pissa"}, "changes its base as well"),
        ({"rank_pattern": {"(": 1}}, "a pattern cannot be read"),
        ({"r": 0}, "adapter_config.json: r is 0"),
        ({"r": 2}, r"adapter tensor lora_A of .* has shape \[3, 32\]"),
    ],
)
def test_configurations_that_are_no_plain_lora_are_refused(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = toys.save_toy(tmp_path / "model", "bert", "classification")
    save_lora(tmp_path / "lora", model, target_modules=["query"])
    config = tmp_path / "lora" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changed))
    with pytest.raises(ProblemsFound, match=message):
        read_lora(tmp_path / "lora", read_model(tmp_path / "model", PLAIN))


def test_no_folder_of_pefts_is_refused(tmp_path: Path) -> None:
    toys.save_toy(tmp_path / "model", "bert", "classification")
    spec = read_model(tmp_path / "model", PLAIN)
    with pytest.raises(ProblemsFound, match=r"adapter_config\.json"):
        read_lora(tmp_path / "nothing", spec)
