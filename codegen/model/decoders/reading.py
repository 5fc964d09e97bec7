"""From a decoder's configuration to `ModelSpec`."""

from __future__ import annotations

from typing import Any, cast

from ...commandline.problems import Report
from ...series.activations import OF_DECODERS
from ...series.names import DecoderActivationName
from ..options import GenOptions
from ..spec import HeadKind, HeadSpec, ModelSpec
from .config import KINDS, DecoderConfig, Gpt2Config, LlamaConfig, biased, rope_of

MISTRAL_WINDOW = 4096
"""What a configuration of Mistral that says nothing of windows means."""


def decoder_spec(
    raw: dict[str, Any], config: DecoderConfig, head: HeadSpec, options: GenOptions, report: Report
) -> ModelSpec | None:
    """The spec of a configuration that pydantic has accepted; None, with the problems reported, where it is of a model
    that is not computed here."""
    kind = KINDS[raw["model_type"]]
    assert isinstance(config, Gpt2Config | LlamaConfig)
    if config.hidden_act not in OF_DECODERS:
        report.error(f"the activation is {config.hidden_act!r}", f"Accepted: {', '.join(OF_DECODERS)}.")
    heads, size = config.num_attention_heads, config.hidden_size
    llama = config if isinstance(config, LlamaConfig) else None
    kv_heads = (llama and llama.num_key_value_heads) or heads
    head_dim = (llama and llama.head_dim) or size // heads
    if heads % kv_heads:
        report.error(
            f"num_attention_heads is {heads}, num_key_value_heads {kv_heads}", "The latter must divide the former."
        )
    if not (llama and llama.head_dim) and size % heads:
        report.error(f"hidden_size is {size}, num_attention_heads {heads}", "The heads must divide the hidden size.")
    if llama and head_dim % 2:
        report.error(f"a head has {head_dim} columns", "Rotary positions turn pairs of them.")
    window = raw.get("sliding_window", MISTRAL_WINDOW) if raw["model_type"] == "mistral" else None
    if window is not None and window < (rows := 1 + options.sequence_length + options.own_rows):
        report.error(
            f"sliding_window is {window}, sequences have {rows} rows",
            "Rows would see windows of others: accepted are windows that hold all.",
        )
    rope = rope_of(llama, report) if llama else None
    if report.failed:
        return None
    return ModelSpec(
        family="llama" if llama else "gpt2", hidden_size=size, num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=heads, intermediate_size=config.intermediate_size or 4 * size,
        hidden_act=cast(DecoderActivationName, config.hidden_act), layer_norm_eps=config.norm_eps,
        vocab_size=config.vocab_size, max_positions=config.max_position_embeddings, position_offset=0, token_types=0,
        pad_token_id=0, head=head, causal=True, norm=kind.norm, rope=rope, num_key_value_heads=kv_heads,
        head_size=head_dim, gated=llama is not None, qk_norm=kind.qk_norm, biased=biased(config, kind),
        tied=config.tie_word_embeddings,
    )  # fmt: skip


def available_heads(config: DecoderConfig) -> dict[HeadKind, bool]:
    """Heads that a decoder can have, the checkpoint's own first."""
    architecture = config.architectures[0] if config.architectures else ""
    return {
        "classification": architecture.endswith("ForSequenceClassification"),
        "causal_lm": (language := architecture.endswith(("ForCausalLM", "LMHeadModel"))),
        "tokens": language,
        "prototypes": True,
    }
