"""A toy decoder's folder as a GGUF file, named and permuted as llama.cpp does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from safetensors.numpy import load_file

LLAMA = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "embed_tokens": "token_embd", "norm": "output_norm",
    "lm_head": "output", "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", "wte": "token_embd",
    "wpe": "position_embd", "ln_f": "output_norm",
}  # fmt: skip


def save_gguf(folder: Path, file: Path, architecture: str, matrices: str = "F32", **settings: Any) -> None:
    """Write the checkpoint and tokenizer in `folder` as one file, matrices in a format that `gguf` quantises to."""
    config = json.loads((folder / "config.json").read_text())
    writer = GGUFWriter(file, architecture)
    heads = config.get("num_attention_heads") or config["n_head"]
    numbers = {
        "embedding_length": config.get("hidden_size") or config["n_embd"],
        "block_count": config.get("num_hidden_layers") or config["n_layer"],
        "feed_forward_length": config.get("intermediate_size") or config["n_inner"],
        "context_length": config.get("max_position_embeddings") or config["n_positions"],
        "attention.head_count": heads, "attention.head_count_kv": config.get("num_key_value_heads", heads),
    }  # fmt: skip
    if config.get("head_dim"):
        numbers |= {"attention.key_length": config["head_dim"], "rope.dimension_count": config["head_dim"]}
    for name, value in numbers.items():
        writer.add_uint32(f"{architecture}.{name}", value)
    if "rms_norm_eps" in config:
        writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
    for name, value in settings.items():
        writer.add_string(name.replace("__", "."), value)
    _tokenizer(writer, json.loads((folder / "tokenizer.json").read_text()))
    for name, value in load_file(folder / "model.safetensors").items():
        if value.dtype == np.float32:
            _tensor(writer, architecture, name, value, config, matrices)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokenizer(writer: GGUFWriter, stored: dict[str, Any]) -> None:
    vocabulary = sorted(stored["model"]["vocab"], key=stored["model"]["vocab"].get)
    special = {token["content"] for token in stored["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in stored["model"]["merges"]])
    writer.add_bos_token_id(0)


def _tensor(
    writer: GGUFWriter, architecture: str, name: str, value: Any, config: dict[str, Any], matrices: str
) -> None:
    module, _, part = name.removeprefix("model.").removeprefix("transformer.").rpartition(".")
    number = next((p for p in module.split(".") if p.isdigit()), None)
    block = f"blk.{number}." if number else ""
    role = module.split(f"{number}.", 1)[1] if number else module
    if architecture == "llama" and role in ("self_attn.q_proj", "self_attn.k_proj"):
        heads = config["num_attention_heads" if "q_proj" in role else "num_key_value_heads"]
        value = value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
    if role.startswith(("attn.c_", "mlp.c_")) and part == "weight":
        value = value.T  # llama.cpp has all matrices as [out, in]
    kind = GGMLQuantizationType[matrices if value.ndim == 2 else "F32"]
    writer.add_tensor(f"{block}{LLAMA[role]}.{part}", quantize(np.ascontiguousarray(value), kind), raw_dtype=kind)
