"""Canonical names and shapes of a model's tensors, matrices in torch's `[out, in]` layout.

| name | shape |
|---|---|
| `embeddings.word`, `.position`, `.token_type` | `[rows, h]`; they stay with whoever embeds the tokens |
| `embeddings.gamma`, `.beta` | `[h]` |
| `layers.{i}.q`, `.k`, `.v`, `.o`, `.ffn_in`, `.ffn_out` + `.weight`, `.bias` | `[out, in]`, `[out]` |
| `layers.{i}.attention_norm`, `.output_norm` + `.gamma`, `.beta` | `[h]` |
| decoders: `layers.{i}.ffn_gate` + `.weight`, `.bias` | of gated feed-forward networks; `ffn_in` is `up` there |
| `layers.{i}.input_norm`, `.ffn_norm`, `final_norm` + `.gamma`, `.beta` | `[h]`; in place of the norms above |
| `layers.{i}.q_norm`, `.k_norm` + `.gamma` | `[D]` |
| `head.dense`, `head.out` + `.weight`, `.bias`; `head.norm` + `.gamma`, `.beta` | |

Made from these by the model owner (`prepare.py`), as the plan needs them:

| name | shape |
|---|---|
| `layers.{i}.phase_query`, `.phase_key` + `.weight`, `.bias` | `[H·F, h]`, `[H·F]`, turns per unit of hidden state |
| `layers.{i}.feature_query`, `.feature_key` + `.weight`, `.bias` | the same for squared ReLU features, in their units |
| decoders': the same, of rotated queries and keys | `[H·F, D]` and `[KV·F, D]`, `[H·F]` and `[KV·F]` |
| `layers.{i}.features` | `[H, F, d]`, radians per unit of a unit-length q or k |
| `layers.{i}.sink.key`, `.sink.value` | `[KV·D]`, a decoder's public first token; its key not rotated |
| `head.prototypes` | `[L, h]`, unit rows |
| `prompt.p0`; `prompt.{i}.p0` with a prompt in every layer | `[n, h]`, normalised rows |
| `layers.{i}.log_sum.weight`, `.bias` | `[H, h]`, `[H]`: estimates of a row's log-sum-exp, of public text |
| `base.` + one of the names above | a matrix without what a LoRA adapter adds, where factors are multiplied |
| `layers.{i}.reach` | `[inner]`: largest magnitude of each neuron's input on public text, where enough was seen |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .options import GenOptions
from .spec import ModelSpec

FOLDED = {"folded": "phase", "relu2": "feature"}
"""Variants of a feature map whose matrices for queries and keys meet a layer's rows, and what those are called."""
Shape = tuple[int, ...]
Weights = dict[str, NDArray[np.floating[Any]]]


class Widened(Mapping[str, NDArray[np.float64]]):
    """Weights in float64, each widened when it is read: all of a large model at once would take gigabytes."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return np.asarray(self._weights[name], np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def checkpoint_shapes(spec: ModelSpec, labels: int | None = None) -> dict[str, Shape]:
    """Tensors that a checkpoint must hold; `labels`: rows of the output layer, by default the number of labels."""
    if spec.causal:
        absent = absent_shapes(spec)
        return {name: shape for name, shape in _decoder_shapes(spec, labels).items() if name not in absent}
    h, inner = spec.hidden_size, spec.intermediate_size
    shapes: dict[str, Shape] = {
        "embeddings.word": (spec.vocab_size, h),
        "embeddings.position": (spec.max_positions, h),
    }
    if spec.token_types:
        shapes["embeddings.token_type"] = (spec.token_types, h)
    shapes |= _norm("embeddings", h)
    for i in range(spec.num_hidden_layers):
        for name in ("q", "k", "v", "o"):
            shapes |= _dense(f"layers.{i}.{name}", h, h)
        shapes |= _norm(f"layers.{i}.attention_norm", h)
        shapes |= _dense(f"layers.{i}.ffn_in", inner, h) | _dense(f"layers.{i}.ffn_out", h, inner)
        shapes |= _norm(f"layers.{i}.output_norm", h)
    if spec.head.dense_act:
        shapes |= _dense("head.dense", h, h)
    if spec.head.norm:
        shapes |= _norm("head.norm", h)
    if spec.head.kind != "prototypes":
        shapes |= _dense("head.out", labels or spec.head.num_labels, h)
    return shapes


def whole_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """The same as checkpoints have them: output layers of language models with the rows of all tokens."""
    return checkpoint_shapes(spec, spec.vocab_size if spec.head.kind in ("masked_lm", "causal_lm") else None)


def _decoder_shapes(spec: ModelSpec, labels: int | None = None) -> dict[str, Shape]:
    """Tensors of a pre-norm decoder, with all biases and betas."""
    h, inner = spec.hidden_size, spec.intermediate_size
    queries, keys = spec.num_attention_heads * spec.head_dim, spec.kv_heads * spec.head_dim
    shapes: dict[str, Shape] = {"embeddings.word": (spec.vocab_size, h)}
    if spec.rope is None:
        shapes["embeddings.position"] = (spec.max_positions, h)
    for i in range(spec.num_hidden_layers):
        p = f"layers.{i}"
        shapes |= _norm(f"{p}.input_norm", h) | _dense(f"{p}.q", queries, h)
        shapes |= _dense(f"{p}.k", keys, h) | _dense(f"{p}.v", keys, h) | _dense(f"{p}.o", h, queries)
        shapes |= _norm(f"{p}.ffn_norm", h)
        if spec.gated:
            shapes |= _dense(f"{p}.ffn_gate", inner, h)
        shapes |= _dense(f"{p}.ffn_in", inner, h) | _dense(f"{p}.ffn_out", h, inner)
        if spec.qk_norm:
            shapes |= {f"{p}.{name}.gamma": (spec.head_dim,) for name in ("q_norm", "k_norm")}
    shapes |= _norm("final_norm", h)
    if spec.head.kind == "tokens":
        return shapes if spec.tied else shapes | _dense("head.out", spec.vocab_size, h)
    if spec.head.kind != "prototypes":
        shapes |= _dense("head.out", labels or spec.head.num_labels, h)
    return shapes


def absent_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Biases and betas that a decoder's checkpoint does not have: they are zero."""
    if not spec.causal:
        return {}

    def absent(name: str) -> bool:
        module, _, part = name.rpartition(".")
        if part == "beta":
            return spec.norm == "rms"
        return part == "bias" and module.rpartition(".")[2] not in spec.biased

    # no head has a bias; of an output layer only the labels' rows are kept
    return {name: shape for name, shape in _decoder_shapes(spec).items() if absent(name)}


def derived_shapes(spec: ModelSpec, options: GenOptions) -> dict[str, Shape]:
    """Tensors that the plan needs beyond those of the checkpoint."""
    h, heads = spec.hidden_size, spec.num_attention_heads
    shapes: dict[str, Shape] = {}
    for i in range(spec.num_hidden_layers if options.attention == "rfa" else 0):
        features = options.features_of(i)
        if spec.causal:  # of queries and keys, which are rotated before
            shapes |= _dense(f"layers.{i}.feature_query", heads * features, spec.head_dim)
            shapes |= _dense(f"layers.{i}.feature_key", spec.kv_heads * features, spec.head_dim)
        elif options.rfa_variant != "paper":
            kind = FOLDED[options.rfa_variant]
            shapes |= _dense(f"layers.{i}.{kind}_query", heads * features, h)
            shapes |= _dense(f"layers.{i}.{kind}_key", heads * features, h)
        else:
            shapes[f"layers.{i}.features"] = (heads, features, spec.head_dim)
    for i in range(spec.num_hidden_layers if options.attention == "softmax" else 0):
        shapes |= _dense(f"layers.{i}.log_sum", heads, h)
        shapes |= {f"layers.{i}.log_sum.keys": (heads,)} if spec.head.kind == "tokens" else {}
    for i in range(spec.num_hidden_layers if spec.causal else 0):
        shapes |= {f"layers.{i}.sink.{part}": (spec.kv_heads * spec.head_dim,) for part in ("key", "value")}
    if spec.head.kind == "prototypes":
        shapes["head.prototypes"] = (spec.head.num_labels, h)
    if spec.causal:  # a prompt is added to rows that the data owner gives
        return shapes
    for layer in prompted_layers(spec, options):
        shapes[prompt_name(options, layer)] = (options.n_prompt_tokens, h)
    return shapes


def prompted_layers(spec: ModelSpec, options: GenOptions) -> range:
    """Layers whose input gets a prompt."""
    if not options.n_prompt_tokens:
        return range(0)
    return range(options.prompt_layer, spec.num_hidden_layers if options.deep else options.prompt_layer + 1)


def prompt_name(options: GenOptions, layer: int) -> str:
    """Weight that holds a layer's initial prompt."""
    return f"prompt.{layer}.p0" if options.deep else "prompt.p0"


def base_name(name: str) -> str:
    """Tensor that holds what an adapter changed by low rank, as it was before."""
    return f"base.{name}"


def reach_name(layer: int) -> str:
    """Weight that says how far a layer's neurons go."""
    return f"layers.{layer}.reach"


def _dense(name: str, rows: int, columns: int) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, size: int) -> dict[str, Shape]:
    return {f"{name}.gamma": (size,), f"{name}.beta": (size,)}
