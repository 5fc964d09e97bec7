"""Decoders' configurations: what they say of a model, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.toys import save_toy
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.decoders.rope import Rope
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import ModelSpec

QWEN2 = {
    "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48, "vocab_size": 100,
    "max_position_embeddings": 64, "tie_word_embeddings": True,
}  # fmt: skip
WORDS = {"label_words": ("good", "bad"), "attention": "softmax"}


def read(directory: Path, options: dict[str, Any] | None = None, **changes: Any) -> ModelSpec:
    path = directory / "config.json"
    path.write_text(json.dumps(QWEN2 | changes))
    return read_model(path, GenOptions(**(WORDS | (options or {}))))


def test_what_a_family_is(tmp_path: Path) -> None:
    spec = read(tmp_path, rope_theta=1e6)
    assert (spec.causal, spec.norm, spec.gated, spec.qk_norm, spec.kv_heads) == (True, "rms", True, False, 2)
    assert (spec.rope, spec.biased, spec.tied) == (Rope(1e6, original_positions=64), ("q", "k", "v"), True)
    assert spec.head.rows == "last"
    qwen3 = read(tmp_path, model_type="qwen3", head_dim=16, tie_word_embeddings=False)
    assert (qwen3.head_dim, qwen3.qk_norm, qwen3.biased, qwen3.tied) == (16, True, (), False)
    gpt2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 90}
    (tmp_path / "config.json").write_text(json.dumps(gpt2 | {"architectures": ["GPT2LMHeadModel"]}))
    spec = read_model(tmp_path, GenOptions(**WORDS))
    assert (spec.norm, spec.rope, spec.gated, spec.intermediate_size) == ("layer", None, False, 128)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling is of the type 'yarn'"),
        ({"model_type": "mistral"}, ""),
        ({"model_type": "mistral", "sliding_window": 16}, "sliding_window is 16, sequences have 37 rows"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types.1 is 'sliding_attention'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"hidden_act": "relu2"}, "the activation is 'relu2'"),
        ({"num_key_value_heads": 3}, "num_attention_heads is 4, num_key_value_heads 3"),
        ({"max_position_embeddings": 36}, "--n-prompt-tokens takes 4 more, the model has positions for 36"),
        ({"architectures": ["Qwen2Model"]}, "--label-words is given"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    if not said:
        assert read(tmp_path, **changes).rope
        return
    with pytest.raises(ProblemsFound) as found:
        read(tmp_path, **changes)
    assert said in str(found.value)


def test_an_encoders_template_holds_no_prompt(tmp_path: Path) -> None:
    save_toy(tmp_path, "bert", "classification")
    with pytest.raises(ProblemsFound, match="--prompt-at is template, the model is an encoder"):
        read_model(tmp_path, GenOptions(attention="softmax", prompt_at="template"))


def test_random_features_and_deep_prompts_are_for_encoders(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound) as found:
        read(tmp_path, {"attention": "rfa", "deep": True})
    assert "--attention is rfa with --rfa folded, the model is a decoder" in str(found.value)
    assert "--deep is given, the model is a decoder" in str(found.value)
