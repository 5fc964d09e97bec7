"""Random toy checkpoints of every decoder family, written by `transformers`, with a byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": 64}),
    "llama": ("Llama", LLAMA),
    "llama-biased-untied": ("Llama", LLAMA | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}),
    "llama-linear": ("Llama", LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
    "llama3": ("Llama", LLAMA | {"rope_parameters": LLAMA3}),
    "mistral": ("Mistral", LLAMA | {"sliding_window": None, "head_dim": 12}),
    "qwen2": ("Qwen2", LLAMA | {"num_key_value_heads": 1}),
    "qwen3": ("Qwen3", LLAMA | {"head_dim": 16}),
}
HEAD_OPTIONS: dict[str, dict[str, Any]] = {
    "classification": {},
    "causal_lm": {"label_words": ("good", "bad"), "template": "Review: {text} So it is"},
    "prototypes": {"label_texts": ("good film", "bad film", "the news"), "temperature": 3.0},
}


def save_decoder(directory: Path, family: str, head: str, shard: str | None = None, **config: Any) -> Any:
    """Write a toy checkpoint and return the model; `shard`: the largest size of a file."""
    name, shape = DECODERS[family]
    vocabulary = save_byte_level(directory)
    last = {"gpt2": "LMHeadModel"}.get(family, "ForCausalLM")
    suffix = {"classification": "ForSequenceClassification", "causal_lm": last, "prototypes": "Model"}[head]
    settings = getattr(transformers, f"{name}Config")(
        vocab_size=vocabulary, pad_token_id=0, bos_token_id=0, eos_token_id=0, **(shape | config)
    )
    torch.manual_seed(0)
    model = getattr(transformers, name + suffix)(settings).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            mean = 1.0 if tensor.ndim == 1 and bool((tensor == 1).all()) else 0.0
            # scores of a few units, as in trained models: rows have few keys, and no first token that all rest on
            narrow = any(part in name for part in ("q_proj", "k_proj", "q_norm.", "k_norm.", "c_attn"))
            tensor.normal_(mean, 0.1 if narrow else 0.2)
            if "q_norm." in name:
                tensor.mul_(0.3)
    model.tie_weights()
    model.save_pretrained(directory, **({"max_shard_size": shard} if shard else {}))
    return model


def save_byte_level(directory: Path) -> int:
    """Write tokenizer.json of bytes and a few words; returns the vocabulary's size."""
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = []
    for word in ("Ġgood", "Ġbad", "Ġfilm", "Ġthe"):
        for i in range(1, len(word)):
            if word[: i + 1] not in vocabulary:
                merges.append((word[:i], word[i]))
                vocabulary.append(word[: i + 1])
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(directory)
    return len(vocabulary)
