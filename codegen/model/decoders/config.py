"""Configurations of decoder-only models: GPT-2, LLaMA and Mistral, Qwen2, Qwen3; pydantic checks fields.

What a field may say beyond what is computed here is refused by its name: windows, positions that are scaled otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from pydantic import Field, PositiveFloat, PositiveInt

from ...commandline.problems import Report
from ..config import ModelConfig
from .rope import Rope, Scaling

SCALINGS = get_args(Scaling)
"""Kinds of `rope_scaling` that are read."""


class DecoderConfig(ModelConfig):
    """What decoders have besides."""

    tie_word_embeddings: bool = False
    add_cross_attention: Literal[False] = False
    bos_token_id: int | None = Field(None, ge=0)
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None


class Gpt2Config(DecoderConfig):
    """Its fields have other names; its scores are scaled by 1/√D alone."""

    hidden_size: PositiveInt = Field(alias="n_embd")
    num_hidden_layers: PositiveInt = Field(alias="n_layer")
    num_attention_heads: PositiveInt = Field(alias="n_head")
    intermediate_size: PositiveInt | None = Field(None, alias="n_inner")
    hidden_act: str = Field("gelu_new", alias="activation_function")
    norm_eps: PositiveFloat = Field(1e-5, alias="layer_norm_epsilon")
    max_position_embeddings: PositiveInt = Field(1024, alias="n_positions")
    tie_word_embeddings: bool = True
    scale_attn_weights: Literal[True] = True
    scale_attn_by_inverse_layer_idx: Literal[False] = False


class LlamaConfig(DecoderConfig):
    """LLaMA's, and what others have beside it."""

    num_key_value_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    intermediate_size: PositiveInt
    hidden_act: str = "silu"
    norm_eps: PositiveFloat = Field(1e-6, alias="rms_norm_eps")
    max_position_embeddings: PositiveInt = 2048
    rope_theta: PositiveFloat = 10000.0
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    partial_rotary_factor: float = Field(1.0, ge=1.0, le=1.0)
    attention_bias: bool = False
    mlp_bias: bool = False
    layer_types: list[Literal["full_attention"]] = Field(default_factory=list)


class MistralConfig(LlamaConfig):
    """LLaMA, where no row is further from another than its window."""

    num_key_value_heads: PositiveInt | None = 8
    sliding_window: PositiveInt | None = None


class QwenConfig(LlamaConfig):
    """Windows are off unless it says otherwise."""

    max_position_embeddings: PositiveInt = 32768
    use_sliding_window: Literal[False] = False


@dataclass(frozen=True)
class DecoderKind:
    """What a model type is."""

    config: type[DecoderConfig]
    norm: Literal["layer", "rms"] = "rms"
    always_biased: tuple[str, ...] = ()
    qk_norm: bool = False


KINDS = {
    "gpt2": DecoderKind(Gpt2Config, "layer", ("q", "k", "v", "o", "ffn_in", "ffn_out")),
    "llama": DecoderKind(LlamaConfig),
    "mistral": DecoderKind(MistralConfig),
    "qwen2": DecoderKind(QwenConfig, always_biased=("q", "k", "v")),
    "qwen3": DecoderKind(QwenConfig, qk_norm=True),
}
"""Model types that are read."""


def biased(config: DecoderConfig, kind: DecoderKind) -> tuple[str, ...]:
    """A layer's matrices that have biases."""
    names = kind.always_biased
    if isinstance(config, LlamaConfig):
        names += tuple("qkvo") if config.attention_bias else ()
        names += ("ffn_gate", "ffn_in", "ffn_out") if config.mlp_bias else ()
    return tuple(dict.fromkeys(names))


def rope_of(config: LlamaConfig, report: Report) -> Rope:
    """Rotary positions; kinds that are not read are reported by name."""
    # release 5 of transformers writes rope_parameters, earlier ones rope_theta and rope_scaling
    said = {**(config.rope_scaling or {}), **(config.rope_parameters or {})}
    kind = said.get("rope_type") or said.get("type") or "default"
    if kind not in SCALINGS:
        report.error(f"config.json: rope_scaling is of the type {kind!r}", f"Accepted: {', '.join(SCALINGS)}.")
        return Rope(config.rope_theta)
    try:
        return Rope(
            float(said.get("rope_theta", config.rope_theta)), cast(Scaling, kind), float(said.get("factor", 1.0)),
            float(said.get("low_freq_factor", 1.0)), float(said.get("high_freq_factor", 4.0)),
            int(said.get("original_max_position_embeddings", config.max_position_embeddings)),
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        report.error(f"config.json: rope_scaling is {said!r}", f"{error}")
        return Rope(config.rope_theta)
