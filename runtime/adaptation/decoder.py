"""A decoder in torch, twice: the softmax original (teacher), and the student, which has squared ReLU features instead.

As `student.py` has an encoder. Rows of a text stand behind each other, the public first token's among them: it sees
itself alone, so that no weights of its row are made in a program, and none count here. Layers are pre-norm.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...codegen.model.spec import ModelSpec
from .student import (
    ACTIVATIONS,
    EXACT,
    LEAST_SUM,
    Architecture,
    Forms,
    Parameters,
    Rows,
    Trace,
    Which,
    half_magnitude,
    insert,
    join,
    linear,
    reciprocal,
    split,
)

OF_DECODERS: dict[str, Callable[[Tensor], Tensor]] = ACTIVATIONS | {
    "silu": functional.silu,
    "gelu_new": functools.partial(functional.gelu, approximate="tanh"),
}


def spec_of(shape: Architecture) -> ModelSpec:
    """What the decoder is."""
    assert shape.decoder is not None
    return shape.decoder


def norm(x: Tensor, weights: Parameters, name: str, shape: Architecture) -> Tensor:
    """Layer norm, or root mean square without centring, in float32."""
    gamma, beta = weights[f"{name}.gamma"], weights[f"{name}.beta"]
    x = x.float()
    if spec_of(shape).norm == "layer":
        return functional.layer_norm(x, x.shape[-1:], gamma, beta, shape.eps)
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + shape.eps) * gamma


def rotated(x: Tensor, rows: Rows, shape: Architecture) -> Tensor:
    """Queries or keys `[B, H, T, D]`, turned by the slots that they have in a padded sequence, whose end is theirs.

    φ(R_s q)·φ(R_t k) depends on s and t, not on their difference alone: training draws the lengths that texts are
    padded to.
    """
    if (rope := spec_of(shape).rope) is None:
        return x
    before = (rows.nominal - rows.mask.sum(1)).long()
    slots = before[:, None] + torch.arange(x.shape[2], device=x.device)
    tables = rope.tables(int(slots.max()) + 1, x.shape[-1])
    cos, sin = (torch.from_numpy(table).to(x)[slots][:, None] for table in tables)
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


def heads(x: Tensor, rows: Rows, weights: Parameters, layer: int, name: str, shape: Architecture) -> Tensor:
    """Queries or keys `[B, heads, T, D]` of normalised rows, in float32, rotated."""
    spec, prefix = spec_of(shape), f"layers.{layer}.{name}"
    y = split(linear(x, weights, prefix), rows, spec.num_attention_heads if name == "q" else spec.kv_heads).float()
    if spec.qk_norm:
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + shape.eps) * weights[f"{prefix}_norm.gamma"]
    return rotated(y, rows, shape)


def repeated(x: Tensor, shape: Architecture) -> Tensor:
    """What a group of heads shares, for each: `[B, KV, T, ·]` to `[B, H, T, ·]`."""
    return x.repeat_interleave(shape.heads // x.shape[1], 1)


def squared_relu(
    x: Tensor, weights: Parameters, layer: int, which: Which, forms: Forms = EXACT
) -> tuple[Tensor, Tensor]:
    """φ `[B, heads, T, 2F]` of rotated queries or keys `[B, heads, T, D]`, and the projections u `[B, heads, T, F]`."""
    site = f"layers.{layer}.feature_{which}"
    with torch.autocast(x.device.type, enabled=False):
        weight = weights[f"{site}.weight"].reshape(x.shape[1], -1, x.shape[-1])
        u = x @ weight.transpose(1, 2) + weights[f"{site}.bias"].reshape(x.shape[1], 1, -1)
        bent = forms.get(site, half_magnitude)(u)
        return torch.cat([(bent + u / 2).square(), (bent - u / 2).square()], -1), u


@dataclass(frozen=True)
class Weighed:
    """Attention of one layer: weights `[B, H, T, T]` that add up to one, and what they went through by site."""

    weights: Tensor
    sites: dict[str, Tensor]


def weigh(
    x: Tensor, rows: Rows, weights: Parameters, layer: int, shape: Architecture, *, adapted: bool, forms: Forms = EXACT
) -> Weighed:
    """Weights of normalised rows `[N, h]` on those before and themselves."""
    q, k = (heads(x, rows, weights, layer, name, shape) for name in "qk")
    seen = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=x.device).tril()
    seen = seen & (rows.mask[:, None, None, :] | torch.eye(len(seen), dtype=torch.bool, device=x.device))
    if not adapted:
        scores = q @ repeated(k, shape).transpose(2, 3) / math.sqrt(q.shape[-1])
        return Weighed(scores.masked_fill(~seen, -math.inf).softmax(-1), {})
    query, u = squared_relu(q, weights, layer, "query", forms)
    key, w = squared_relu(k, weights, layer, "key", forms)
    kernel = query @ repeated(key, shape).transpose(2, 3) * seen
    total = kernel.sum(-1, keepdim=True)
    inverse = forms.get(f"layers.{layer}.row_sum", functools.partial(reciprocal, floor=LEAST_SUM))
    first = first_rows(rows)
    sites = {"feature_query": join(u, rows)[~first], "feature_key": join(w, rows), "row_sum": join(total, rows)[~first]}
    return Weighed(kernel * inverse(total), sites)


def first_rows(rows: Rows) -> Tensor:
    """Which of the N rows are first tokens' `[N]`."""
    return rows.index % rows.mask.shape[1] == 0


def attention(
    x: Tensor, rows: Rows, weights: Parameters, layer: int, shape: Architecture, *, adapted: bool, forms: Forms = EXACT
) -> tuple[Tensor, dict[str, Tensor]]:
    """All heads' outputs `[N, H·D]` of normalised rows, and what they went through."""
    value = repeated(split(linear(x, weights, f"layers.{layer}.v"), rows, spec_of(shape).kv_heads), shape)
    weighed = weigh(x, rows, weights, layer, shape, adapted=adapted, forms=forms)
    return join(weighed.weights.to(value.dtype) @ value, rows), weighed.sites


def attend(
    x: Tensor, rows: Rows, weights: Parameters, layer: int, shape: Architecture, forms: Forms = EXACT
) -> tuple[Tensor, dict[str, Tensor]]:
    """The student's attention, `[N, H·D]`, 0 in first tokens' rows, which it does not change."""
    out, sites = attention(x, rows, weights, layer, shape, adapted=True, forms=forms)
    return out * ~first_rows(rows)[:, None], sites


def feed_forward(x: Tensor, weights: Parameters, layer: int, shape: Architecture) -> Tensor:
    """The feed-forward network of normalised rows."""
    prefix, spec = f"layers.{layer}", spec_of(shape)
    act = OF_DECODERS[spec.hidden_act]
    inner = linear(x, weights, f"{prefix}.ffn_in")
    inner = act(linear(x, weights, f"{prefix}.ffn_gate")) * inner if spec.gated else act(inner)
    return linear(inner, weights, f"{prefix}.ffn_out")


def decode(
    x: Tensor,
    rows: Rows,
    weights: Parameters,
    shape: Architecture,
    *,
    adapted: bool,
    prompt: Tensor | None = None,
    at: int = 0,
    forms: Forms = EXACT,
) -> tuple[list[Trace], Tensor, Rows]:
    """Every layer's trace and the unit mean of the rows behind the last norm `[B, h]`; `prompt` enters before layer
    `at`, behind the first token."""
    traces = []
    for layer in range(shape.layers):
        if prompt is not None and layer == at:
            x, rows = insert(x, rows, prompt)
        hat = norm(x, weights, f"layers.{layer}.input_norm", shape)
        context, sites = attention(hat, rows, weights, layer, shape, adapted=adapted, forms=forms)
        added = linear(context, weights, f"layers.{layer}.o")
        x = x + added.float()
        x = x + feed_forward(norm(x, weights, f"layers.{layer}.ffn_norm", shape), weights, layer, shape).float()
        told = linear(context * ~first_rows(rows)[:, None], weights, f"layers.{layer}.o")
        traces.append(Trace(x, told, sites | {"hidden": hat}, {}))
    last = norm(x, weights, "final_norm", shape)
    return traces, functional.normalize(rows.mean(last), dim=-1), rows
