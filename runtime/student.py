"""The encoder in torch, twice: the softmax original (teacher) and its random-feature form (student).

Weights are a plain mapping from canonical name (`codegen/weights.py`) to tensor: what is trained is what is stored.
Only rows that carry a token are computed: `hidden` is `[N, h]`, and `Rows` says where the N rows stand in their texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "relu": functional.relu}


@dataclass(frozen=True)
class Shape:
    """What a forward pass has to know of a model beside its weights."""

    layers: int
    heads: int
    hidden: int
    eps: float
    act: str = "gelu"
    features: int = 32
    floor: float = 0.02


@dataclass(frozen=True)
class Rows:
    """Where the rows stand: `mask` `[B, T]`; `nominal` `[B]` is the padded length that the protocol would see."""

    mask: Tensor
    nominal: Tensor

    @cached_property
    def index(self) -> Tensor:
        """Positions of the N rows in the flattened `[B·T]`."""
        return self.mask.flatten().nonzero().squeeze(1)

    def pad(self, x: Tensor) -> Tensor:
        """`[N, ...]` to `[B, T, ...]`, zeros where there is no token."""
        padded = x.new_zeros(self.mask.numel(), *x.shape[1:]).index_copy(0, self.index, x)
        return padded.reshape(*self.mask.shape, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """`[B, T, ...]` to `[N, ...]`."""
        return x.flatten(0, 1).index_select(0, self.index)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over a text's rows, `[N, h]` to `[B, h]`."""
        return self.pad(x).sum(1) / self.mask.sum(1, keepdim=True)


@dataclass
class Trace:
    """What one encoder layer did: output rows, attention's share before the layer norm, values at calibration sites."""

    hidden: Tensor
    attention: Tensor
    sites: dict[str, Tensor]


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """x·Wᵀ + b."""
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x: Tensor, weights: Weights, name: str, eps: float) -> tuple[Tensor, Tensor]:
    """Layer norm with its affine part, and the variance of every row."""
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    normalised = centred * torch.rsqrt(variance + eps)
    return normalised * weights[f"{name}.gamma"] + weights[f"{name}.beta"], variance.squeeze(-1)


def split(x: Tensor, rows: Rows, heads: int) -> Tensor:
    """Rows of all heads `[N, H·D]` to `[B, H, T, D]`."""
    padded = rows.pad(x)
    return padded.reshape(*padded.shape[:2], heads, -1).transpose(1, 2)


def join(x: Tensor, rows: Rows) -> Tensor:
    """The inverse of `split`."""
    return rows.unpad(x.transpose(1, 2)).flatten(1)


def softmax_attention(x: Tensor, rows: Rows, weights: Weights, layer: int, shape: Shape) -> Tensor:
    """The original's attention, `[N, h]`."""
    q, k, v = (split(linear(x, weights, f"layers.{layer}.{name}"), rows, shape.heads) for name in "qkv")
    logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    return join(logits.masked_fill(~rows.mask[:, None, None, :], -math.inf).softmax(-1) @ v, rows)


def feature_map(x: Tensor, rows: Rows, weights: Weights, name: str, heads: int) -> Tensor:
    """[cos 2πθ, sin 2πθ] of the phases θ = W x + b, `[B, H, T, 2F]`."""
    angle = 2 * math.pi * split(linear(x, weights, name), rows, heads)
    return torch.cat([angle.cos(), angle.sin()], -1)


def rfa_attention(
    x: Tensor, rows: Rows, weights: Weights, layer: int, shape: Shape
) -> tuple[Tensor, dict[str, Tensor]]:
    """Folded random-feature attention (docs/program.md): output `[N, h]`, and what it went through.

    `den` `[N, H]` and `numerator` `[N, h]` are divided by F·T; `value` is `[N, h]`.
    """
    prefix = f"layers.{layer}"
    phi_q = feature_map(x, rows, weights, f"{prefix}.phase_query", shape.heads)
    phi_k = feature_map(x, rows, weights, f"{prefix}.phase_key", shape.heads) * rows.mask[:, None, :, None]
    value = linear(x, weights, f"{prefix}.v")
    scale = (shape.features * rows.nominal)[:, None, None, None]
    numerator = phi_q @ (phi_k.transpose(2, 3) @ split(value, rows, shape.heads)) / scale
    den = phi_q @ phi_k.sum(2)[..., None] / scale
    sites = {"den": join(den, rows), "numerator": join(numerator, rows), "value": value}
    return join(numerator / den.clamp(min=shape.floor), rows), sites


def encoder_layer(x: Tensor, rows: Rows, weights: Weights, layer: int, shape: Shape, *, rfa: bool) -> Trace:
    """One post-norm layer; site names are those of `codegen/oracle_float.py`."""
    prefix = f"layers.{layer}"
    context, sites = rfa_attention(x, rows, weights, layer, shape) if rfa else (
        softmax_attention(x, rows, weights, layer, shape), {}
    )  # fmt: skip
    sites |= {"hidden": x, "attention_out": context}
    attention = linear(context, weights, f"{prefix}.o")
    x, sites["attention_var"] = norm(x + attention, weights, f"{prefix}.attention_norm", shape.eps)
    sites["gelu"] = linear(x, weights, f"{prefix}.ffn_in")
    output = linear(ACTIVATIONS[shape.act](sites["gelu"]), weights, f"{prefix}.ffn_out")
    hidden, sites["output_var"] = norm(x + output, weights, f"{prefix}.output_norm", shape.eps)
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
