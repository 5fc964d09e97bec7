"""Where a decoder's checkpoint keeps each canonical tensor, and in which form."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..spec import ModelSpec

Shape = tuple[int, ...]
Floats = NDArray[np.float32]

BASES = {"llama": ("embed_tokens.weight", "model"), "gpt2": ("wte.weight", "transformer")}
"""By family: the word embeddings' name, which shows what stands before all names, and the base model's own prefix."""
BENIGN = re.compile(
    r"(lm_head\.|score\.|rfa\.|layers\.\d+\.self_attn\.rotary_emb\.inv_freq$|h\.\d+\.attn\.(masked_)?bias$)"
)
"""What checkpoints may hold beside what is read: heads that are not used, and buffers."""
_LLAMA = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_in": "mlp.up_proj", "ffn_out": "mlp.down_proj",
    "input_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm",
}  # fmt: skip
_GPT2 = {
    "q": "attn.c_attn", "k": "attn.c_attn", "v": "attn.c_attn", "o": "attn.c_proj", "ffn_in": "mlp.c_fc",
    "ffn_out": "mlp.c_proj", "input_norm": "ln_1", "ffn_norm": "ln_2",
}  # fmt: skip
_OUTER = {
    "llama": {"embeddings.word": "embed_tokens", "final_norm": "norm"},
    "gpt2": {"embeddings.word": "wte", "embeddings.position": "wpe", "final_norm": "ln_f"},
}
_PARTS = {"gamma": "weight", "beta": "bias"}


@dataclass(frozen=True)
class Stored:
    """A tensor of a checkpoint, and how a canonical one is taken from it."""

    name: str
    shape: Shape
    """As the checkpoint has it."""
    transposed: bool = False
    """GPT-2's `Conv1D` keeps matrices as `[in, out]`."""
    rows: tuple[int, int | None] = (0, None)
    """Of the transposed: q, k and v are one matrix in GPT-2."""

    def take(self, value: Floats) -> Floats:
        """The canonical tensor of the stored one."""
        return np.ascontiguousarray((value.T if self.transposed else value)[slice(*self.rows)])


def stored(spec: ModelSpec, canonical: str, shape: Shape) -> Stored:
    """Where a canonical tensor of a shape lies."""
    if canonical.startswith("head.out"):
        if spec.head.kind == "classification":
            return Stored("score.weight", shape)
        return Stored(BASES[spec.family][0] if spec.tied else "lm_head.weight", shape)
    module, _, part = canonical.rpartition(".")
    if canonical in (outer := _OUTER[spec.family]):
        return Stored(f"{outer[canonical]}.weight", shape)
    if module in outer:
        return Stored(f"{outer[module]}.{_PARTS[part]}", shape)
    _, layer, role = module.split(".")
    if spec.family == "llama":
        return Stored(f"layers.{layer}.{_LLAMA[role]}.{_PARTS.get(part, part)}", shape)
    name = f"h.{layer}.{_GPT2[role]}.{_PARTS.get(part, part)}"
    if role in "qkv":
        rows, third = spec.num_attention_heads * spec.head_dim, "qkv".index(role)
        whole = (shape[1], 3 * rows) if len(shape) == 2 else (3 * rows,)
        return Stored(name, whole, len(shape) == 2, (third * rows, (third + 1) * rows))
    return Stored(name, shape[::-1], len(shape) == 2)
