"""The encoder in torch, twice: the softmax original (teacher) and its random-feature form (student).

Weights are a plain mapping from canonical name to tensor, matrices `[out, in]`, so that what is trained is what is stored.
Only rows that carry a token are computed: `hidden` is `[N, h]`, and `Rows` says where the N rows stand in their texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """What a forward pass has to know of a model beside its weights."""

    layers: int
    heads: int
    hidden: int
    eps: float
    features: int = 32
    floor: float = 0.02


@dataclass(frozen=True)
class Rows:
    """Where the rows stand: `mask` is `[B, T]`, `nominal` `[B]` the padded length T of the protocol, at least a text's own."""

    mask: Tensor
    nominal: Tensor

    @cached_property
    def index(self) -> Tensor:
        """Positions of the N rows in the flattened `[B·T]`."""
        return self.mask.flatten().nonzero().squeeze(1)

    def pad(self, x: Tensor) -> Tensor:
        """`[N, ...]` to `[B, T, ...]`, zeros where there is no token."""
        padded = x.new_zeros(self.mask.numel(), *x.shape[1:]).index_copy(0, self.index, x)
        return padded.unflatten(0, tuple(self.mask.shape))

    def unpad(self, x: Tensor) -> Tensor:
        """`[B, T, ...]` to `[N, ...]`."""
        return x.flatten(0, 1).index_select(0, self.index)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over a text's rows, `[N, h]` to `[B, h]`."""
        return self.pad(x).sum(1) / self.mask.sum(1, keepdim=True)


@dataclass
class Trace:
    """What one encoder layer did; every tensor has one entry or row a token (`den`: one a token and head)."""

    hidden: Tensor
    attention: Tensor
    sites: dict[str, Tensor] = field(default_factory=dict)


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """x·Wᵀ + b."""
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x: Tensor, weights: Weights, name: str, eps: float) -> tuple[Tensor, Tensor]:
    """Layer norm with its affine part, and the variance of every row."""
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred * torch.rsqrt(variance + eps) * weights[f"{name}.gamma"] + weights[f"{name}.beta"], variance.squeeze(-1)


def embed(weights: Weights, ids: Tensor, rows: Rows, eps: float) -> Tensor:
    """Embedding rows after layer norm, `[B, T]` token ids to `[N, h]`."""
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    x = weights["embeddings.word"][ids[rows.mask]] + weights["embeddings.position"][positions[rows.mask]]
    return norm(x + weights["embeddings.type"][0], weights, "embeddings.norm", eps)[0]


def softmax_attention(x: Tensor, rows: Rows, weights: Weights, layer: int, shape: Shape) -> Tensor:
    """The original's attention, `[N, h]`."""
    q, k, v = (
        rows.pad(linear(x, weights, f"layers.{layer}.{name}")).unflatten(-1, (shape.heads, -1)).transpose(1, 2)
        for name in "qkv"
    )
    logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    out = logits.masked_fill(~rows.mask[:, None, None, :], -math.inf).softmax(-1) @ v
    return rows.unpad(out.transpose(1, 2).flatten(2))


def feature_map(x: Tensor, rows: Rows, weights: Weights, name: str, heads: int) -> Tensor:
    """[cos 2πθ, sin 2πθ] of the phases θ = W x + b, `[B, heads, T, 2F]`, zero where there is no token."""
    theta = linear(x, weights, name).unflatten(-1, (heads, -1)) * (2 * math.pi)
    return rows.pad(torch.cat([theta.cos(), theta.sin()], -1)).transpose(1, 2)


def rfa_attention(
    x: Tensor, rows: Rows, weights: Weights, layer: int, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """Folded random-feature attention (docs/program.md): output `[N, h]`, denominators ÷ (F·T) `[N, heads]`, values `[N, h]`."""
    prefix = f"layers.{layer}"
    phi_q = feature_map(x, rows, weights, f"{prefix}.phase_query", shape.heads)
    phi_k = feature_map(x, rows, weights, f"{prefix}.phase_key", shape.heads)
    value = linear(x, weights, f"{prefix}.v")
    v = rows.pad(value).unflatten(-1, (shape.heads, -1)).transpose(1, 2)
    scale = (shape.features * rows.nominal)[:, None, None, None]
    num = phi_q @ (phi_k.transpose(2, 3) @ v) / scale
    den = phi_q @ phi_k.sum(2)[..., None] / scale
    out = num / den.clamp(min=shape.floor)
    return rows.unpad(out.transpose(1, 2).flatten(2)), rows.unpad(den.squeeze(-1).transpose(1, 2)), value


def encoder_layer(x: Tensor, rows: Rows, weights: Weights, layer: int, shape: Shape, *, rfa: bool) -> Trace:
    """One post-norm BERT layer; the student's trace carries the ranges that the protocol has to cover."""
    prefix = f"layers.{layer}"
    sites: dict[str, Tensor] = {}
    if rfa:
        context, sites["den"], sites["value"] = rfa_attention(x, rows, weights, layer, shape)
    else:
        context = softmax_attention(x, rows, weights, layer, shape)
    attention = linear(context, weights, f"{prefix}.o")
    x, attention_var = norm(x + attention, weights, f"{prefix}.attention_norm", shape.eps)
    gelu = linear(x, weights, f"{prefix}.ffn_in")
    output = linear(functional.gelu(gelu), weights, f"{prefix}.ffn_out")
    hidden, output_var = norm(x + output, weights, f"{prefix}.output_norm", shape.eps)
    sites |= {
        "attention_out": context, "attention_var": attention_var, "gelu": gelu, "output_var": output_var, "hidden": hidden,
    }  # fmt: skip
    return Trace(hidden, attention, sites)


def insert(x: Tensor, rows: Rows, prompt: Tensor) -> tuple[Tensor, Rows]:
    """Put prompt rows `[B, n, h]` after every text's first row, as the plan's `insert` does."""
    padded, mask = rows.pad(x), rows.mask
    joined = torch.cat([padded[:, :1], prompt, padded[:, 1:]], 1)
    ones = mask.new_ones(prompt.shape[:2])
    mask = torch.cat([mask[:, :1], ones, mask[:, 1:]], 1)
    rows = Rows(mask, rows.nominal + prompt.shape[1])
    return rows.unpad(joined), rows


def encode(
    x: Tensor, rows: Rows, weights: Weights, shape: Shape, *, rfa: bool, prompt: Tensor | None = None, at: int = 0
) -> tuple[list[Trace], Tensor, Rows]:
    """Every layer's trace and the pooled unit embedding `[B, h]`; `prompt` enters before layer `at`."""
    traces = []
    for layer in range(shape.layers):
        if prompt is not None and layer == at:
            x, rows = insert(x, rows, prompt)
        traces.append(encoder_layer(x, rows, weights, layer, shape, rfa=rfa))
        x = traces[-1].hidden
    return traces, functional.normalize(rows.mean(x), dim=-1), rows
