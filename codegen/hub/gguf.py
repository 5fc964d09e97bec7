"""GGUF files (llama.cpp): one file with a model's settings, tensors and tokenizer, read as a Hugging Face folder is.

Settings become fields of a config.json, tensors get the names and layouts that `transformers` gives them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray

from .files import pointer_problem

Floats = NDArray[np.float32]
FORMATS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K")
"""Number formats of tensors that are read."""
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "gpt2": "GPT2LMHeadModel",
}  # fmt: skip
_OUTER = {"token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_GPT2_OUTER = {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f", "output": "lm_head"}
_GPT2_LAYER = {
    "attn_norm": "ln_1", "ffn_norm": "ln_2", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj",
    "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj",
}  # fmt: skip


class GgufFile:
    """One file. Raises ValueError naming what cannot be read, OSError."""

    def __init__(self, path: Path) -> None:
        if problem := pointer_problem(path):
            raise ValueError(problem)
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ValueError(f"{path.name} is not a GGUF file")
        try:
            reader = GGUFReader(path)
        except (ValueError, KeyError, IndexError, UnicodeDecodeError, OverflowError) as error:
            raise ValueError(f"{path.name} cannot be read (incomplete download?): {error}") from None
        self.name = path.name
        self._fields = reader.fields
        self.architecture = str(self.setting("general.architecture"))
        if self.architecture not in _ARCHITECTURES:
            accepted = ", ".join(_ARCHITECTURES)
            raise ValueError(
                f"{path.name}: general.architecture is {self.architecture!r}; accepted: {accepted} (Mistral is llama)"
            )
        self._tensors = {self._plain(tensor.name): tensor for tensor in reader.tensors}

    def setting(self, name: str, default: Any = None) -> Any:
        """A field of the file; of the architecture's own where the name begins with a dot."""
        field = self._fields.get(f"{self.architecture}{name}" if name.startswith(".") else name)
        return default if field is None else field.contents()

    # as a checkpoint

    def names(self) -> list[str]:
        """All tensors, by the names that `transformers` has for them."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape in that checkpoint."""
        shape = tuple(int(size) for size in reversed(self._tensors[name].shape))
        return shape[::-1] if self._transposed(name) else shape

    def read(self, name: str) -> Floats:
        """A tensor as float32. Raises ValueError naming a type that is not read."""
        tensor = self._tensors[name]
        if (kind := GGMLQuantizationType(tensor.tensor_type).name) not in FORMATS:
            raise ValueError(f"tensor {tensor.name} has the type {kind}; accepted: {', '.join(FORMATS)}")
        shape = tuple(int(size) for size in reversed(tensor.shape))
        value = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        if self.architecture == "llama" and ".self_attn.q_proj." in name:
            value = _unpermuted(value, int(self.setting(".attention.head_count")))
        elif self.architecture == "llama" and ".self_attn.k_proj." in name:
            value = _unpermuted(value, self._kv_heads())
        return np.ascontiguousarray(value.T if self._transposed(name) else value)

    def _transposed(self, name: str) -> bool:
        """GPT-2's matrices, which `transformers` keeps as `[in, out]`."""
        return self.architecture == "gpt2" and name.startswith("h.") and name.endswith(".weight") and ".ln_" not in name

    def _plain(self, name: str) -> str:
        """A tensor's name in a checkpoint; unknown ones keep theirs, and are reported as such."""
        outer, layer, block = (
            (_GPT2_OUTER, _GPT2_LAYER, "h") if self.architecture == "gpt2" else (_OUTER, _LAYER, "layers")
        )
        module, _, part = name.rpartition(".")
        if module in outer:
            return f"{outer[module]}.{part}"
        head, _, role = module.removeprefix("blk.").partition(".")
        return f"{block}.{head}.{layer[role]}.{part}" if role in layer else name

    # as a config.json

    def config(self) -> dict[str, Any]:
        """What config.json says, as far as it counts here. Raises ValueError where the file says too little or what is
        not computed."""
        heads, width = self._number(".attention.head_count"), self._number(".embedding_length")
        vocabulary = self.shape("wte.weight" if self.architecture == "gpt2" else "embed_tokens.weight")[0]
        shared = {
            "model_type": self.architecture, "architectures": [_ARCHITECTURES[self.architecture]],
            "vocab_size": vocabulary, "tie_word_embeddings": "lm_head.weight" not in self._tensors,
            "bos_token_id": self.setting("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.setting("tokenizer.ggml.eos_token_id"),
        }  # fmt: skip
        if self.architecture == "gpt2":
            return shared | {
                "n_embd": width, "n_layer": self._number(".block_count"), "n_head": heads,
                "n_inner": self._number(".feed_forward_length"), "n_positions": self._number(".context_length"),
                "layer_norm_epsilon": self.setting(".attention.layer_norm_epsilon", 1e-5),
            }  # fmt: skip
        head_dim = int(self.setting(".attention.key_length", width // heads))
        turned = int(self.setting(".rope.dimension_count", head_dim))
        if turned != head_dim:
            raise ValueError(f"{self.name}: rope.dimension_count is {turned}, a head has {head_dim} columns")
        if "rope_freqs.weight" in self._tensors:
            raise ValueError(f"{self.name}: the tensor rope_freqs.weight scales rotary positions; accepted: none")
        window = self.setting(".attention.sliding_window")
        config = shared | {
            "hidden_size": width, "num_hidden_layers": self._number(".block_count"), "num_attention_heads": heads,
            "num_key_value_heads": self._kv_heads(), "head_dim": head_dim,
            "intermediate_size": self._number(".feed_forward_length"),
            "max_position_embeddings": self._number(".context_length"),
            "rms_norm_eps": self.setting(".attention.layer_norm_rms_epsilon", 1e-6),
            "rope_theta": self.setting(".rope.freq_base", 10000.0), "rope_scaling": self._scaling(),
            "attention_bias": "layers.0.self_attn.o_proj.bias" in self._tensors,
        }  # fmt: skip
        return config if window is None else config | {"model_type": "mistral", "sliding_window": int(window)}

    def _scaling(self) -> dict[str, Any] | None:
        kind = self.setting(".rope.scaling.type", "none")
        factor = self.setting(".rope.scaling.factor", 1.0)
        return None if kind in ("none", "") else {"type": str(kind), "factor": factor}

    def _kv_heads(self) -> int:
        return int(self.setting(".attention.head_count_kv", self.setting(".attention.head_count")))

    def _number(self, name: str) -> int:
        value = self.setting(name)
        if not isinstance(value, int):
            raise ValueError(f"{self.name}: {self.architecture}{name} is {value!r}, accepted: one number")
        return value


def gguf_file(model: Path) -> Path | None:
    """The GGUF file that a model is: itself, or the only one of a folder without config.json; None: it is none."""
    if model.is_file():
        return model if model.suffix == ".gguf" else None
    if not model.is_dir() or (model / "config.json").is_file():
        return None
    files = sorted(model.glob("*.gguf"))
    return files[0] if len(files) == 1 else None


@cache
def open_gguf(path: Path) -> GgufFile:
    """A file, read once. Raises ValueError, OSError."""
    return GgufFile(path)


def _unpermuted(weight: Floats, heads: int) -> Floats:
    """Rows of q or k as `transformers` has them: llama.cpp puts the two columns of a rotary pair side by side."""
    pairs = weight.shape[0] // heads // 2
    return weight.reshape(heads, pairs, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
