"""The encoder in torch, twice: the softmax original (teacher), and the student (`adapted`), which has a feature map
instead, or softmax with fewer heads.

Weights are a plain mapping from canonical name (`codegen/weights.py`) to tensor: what is trained is what is stored. A
matrix may have a low-rank change beside it, `{name}.up` `[out, r]` times `{name}.down` `[r, in]`.
Only rows that carry a token are computed: `hidden` is `[N, h]`, and `Rows` says where the N rows stand in their texts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...codegen.model.options import FeatureVariant
from ...codegen.model.spec import ModelSpec

Parameters = Mapping[str, Tensor]
Forms = Mapping[str, Callable[[Tensor], Tensor]]
"""What stands in for a non-linearity, by calibration site; sites that are not named are exact."""
EXACT: Forms = {}
LEAST_SUM = 1e-6
"""Of a row's weights by squared ReLU features, where they are divided by exactly: all of them may be 0."""
Which = Literal["query", "key"]
Kind = FeatureVariant | Literal["merged"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "relu": functional.relu}


@dataclass(frozen=True)
class Architecture:
    """What a forward pass has to know of a model beside its weights; `features` has a count for every layer."""

    layers: int
    heads: int
    hidden: int
    eps: float
    act: str = "gelu"
    """The original's activation."""
    student_act: str = ""
    """The student's; empty: the same."""
    harmonics: int = 0
    """Of its fit; 0: as many as an error of 2e-3 takes."""
    features: tuple[int, ...] = ()
    variant: FeatureVariant = "folded"
    floor: float = 0.02
    merged: int = 1
    """Heads of the original in each of the student's, which keeps softmax then; 1: the student has a feature map."""
    decoder: ModelSpec | None = None
    """What a decoder is (`decoder.py`); None: an encoder."""

    @property
    def kind(self) -> Kind:
        """The student's attention."""
        return "merged" if self.merged > 1 else self.variant


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
    """What one encoder layer did: output rows, attention's share before the layer norm, values at calibration sites.

    `sums`: the rows that go into its two layer norms, by site (`attention_var`, `output_var`).
    """

    hidden: Tensor
    attention: Tensor
    sites: dict[str, Tensor]
    sums: dict[str, Tensor]


def linear(x: Tensor, weights: Parameters, name: str) -> Tensor:
    """(W + up·down) x + b."""
    y = functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
    if (up := weights.get(f"{name}.up")) is None:
        return y
    return y + functional.linear(functional.linear(x, weights[f"{name}.down"]), up)


def variance(x: Tensor) -> Tensor:
    """Of every row, `[N, 1]`, in float32."""
    return x.float().var(-1, correction=0, keepdim=True)


def norm(x: Tensor, weights: Parameters, name: str, eps: float, root: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Layer norm with its affine part; `root` stands in for 1/√(variance + eps)."""
    gamma, beta = weights[f"{name}.gamma"], weights[f"{name}.beta"]
    if root is None:
        return functional.layer_norm(x, x.shape[-1:], gamma, beta, eps)
    return (x - x.mean(-1, keepdim=True)) * root(variance(x)) * gamma + beta


def split(x: Tensor, rows: Rows, heads: int) -> Tensor:
    """Rows of all heads `[N, H·D]` to `[B, H, T, D]`."""
    padded = rows.pad(x)
    return padded.reshape(*padded.shape[:2], heads, -1).transpose(1, 2)


def join(x: Tensor, rows: Rows) -> Tensor:
    """The inverse of `split`."""
    return rows.unpad(x.transpose(1, 2)).flatten(1)


def softmax_weights(x: Tensor, rows: Rows, weights: Parameters, layer: int, heads: int) -> Tensor:
    """Of every head, `[B, heads, T, T]`; 0 where there is no token."""
    q, k = (split(linear(x, weights, f"layers.{layer}.{name}"), rows, heads) for name in "qk")
    logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    return logits.masked_fill(~rows.mask[:, None, None, :], -math.inf).softmax(-1)


def softmax_attention(x: Tensor, rows: Rows, weights: Parameters, layer: int, heads: int) -> Tensor:
    """The original's attention, or that of merged heads, `[N, h]`."""
    values = split(linear(x, weights, f"layers.{layer}.v"), rows, heads)
    return join(softmax_weights(x, rows, weights, layer, heads).to(values.dtype) @ values, rows)


def phases(x: Tensor, weights: Parameters, layer: int, which: Which, shape: Architecture) -> Tensor:
    """Angles in radians, `[N, H·F]`, always in float32: bfloat16 has too few digits for several turns."""
    prefix = f"layers.{layer}"
    if shape.variant == "folded":
        with torch.autocast(x.device.type, enabled=False):
            return 2 * math.pi * linear(x, weights, f"{prefix}.phase_{which}")
    heads = linear(x, weights, f"{prefix}.{which[0]}").float()
    with torch.autocast(x.device.type, enabled=False):
        unit = functional.normalize(heads.reshape(len(x), shape.heads, -1), dim=-1)
        return torch.einsum("nhd,hfd->nhf", unit, weights[f"{prefix}.features"]).flatten(1)


def feature_map(
    x: Tensor, weights: Parameters, layer: int, which: Which, shape: Architecture, forms: Forms = EXACT
) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
    """Both halves of φ of queries or keys, each `[N, H·F]` in float32, and what its non-linearity saw.

    Trigonometric: cos θ and sin θ. `relu2`: max(0, u)² and max(0, -u)², where max(0, ±u) = |u|/2 ± u/2.
    """
    if shape.variant != "relu2":
        angle = phases(x, weights, layer, which, shape)
        return (angle.cos(), angle.sin()), {}
    with torch.autocast(x.device.type, enabled=False):
        u = linear(x, weights, f"layers.{layer}.feature_{which}")
        bent = forms.get(f"layers.{layer}.feature_{which}", half_magnitude)(u)
        return ((bent + u / 2).square(), (bent - u / 2).square()), {f"feature_{which}": u}


def half_magnitude(u: Tensor) -> Tensor:
    """|u|/2, the even part of max(0, u)."""
    return u.abs() / 2


def reciprocal(x: Tensor, floor: float) -> Tensor:
    """1 / max(x, floor)."""
    return x.clamp(min=floor).reciprocal()


def attend(
    x: Tensor, rows: Rows, weights: Parameters, layer: int, shape: Architecture, forms: Forms = EXACT
) -> tuple[Tensor, dict[str, Tensor]]:
    """The student's attention: output `[N, h]`, and what it went through.

    Merged heads go through softmax, which is exact here. Of feature maps (docs/program.md), trigonometric ones have
    `den` `[N, H]` and `numerator` `[N, h]`, both divided by F·T, squared ReLU `row_sum` `[N, H]`, sums of a row's
    weights; `value` is `[N, h]`.
    """
    if shape.merged > 1:
        return softmax_attention(x, rows, weights, layer, shape.heads // shape.merged), {}
    value = linear(x, weights, f"layers.{layer}.v")
    values = split(value, rows, shape.heads)
    query, seen = feature_map(x, weights, layer, "query", shape, forms)
    key, more = feature_map(x, weights, layer, "key", shape, forms)
    numerator: Tensor = torch.zeros(())
    den: Tensor = torch.zeros(())
    for halves in zip(query, key, strict=True):
        q, k = (split(half.to(value.dtype), rows, shape.heads) for half in halves)
        k = k * rows.mask[:, None, :, None]  # φ(0) is not 0 where there is no token
        numerator = numerator + q @ (k.transpose(2, 3) @ values)
        den = den + q @ k.sum(2)[..., None]
    sites = {"value": value, **seen, **more}
    if shape.variant == "relu2":
        inverse = forms.get(f"layers.{layer}.row_sum", functools.partial(reciprocal, floor=LEAST_SUM))(den)
        return join(numerator * inverse, rows), sites | {"row_sum": join(den, rows)}
    scale = (shape.features[layer] * rows.nominal)[:, None, None, None]
    numerator, den = numerator / scale, den / scale
    exact = functools.partial(reciprocal, floor=shape.floor)
    inverse = forms.get(f"layers.{layer}.den", exact)(den)
    return join(numerator * inverse, rows), sites | {"den": join(den, rows), "numerator": join(numerator, rows)}


def encoder_layer(
    x: Tensor, rows: Rows, weights: Parameters, layer: int, shape: Architecture, *, adapted: bool, forms: Forms = EXACT
) -> Trace:
    """One post-norm layer; site names are those of `codegen/plan/oracle.py`."""
    prefix = f"layers.{layer}"
    context, sites = attend(x, rows, weights, layer, shape, forms) if adapted else (
        softmax_attention(x, rows, weights, layer, shape.heads), {}
    )  # fmt: skip
    sites |= {"hidden": x, "attention_out": context}
    attention = linear(context, weights, f"{prefix}.o")
    sums = {"attention_var": x + attention}
    root = forms.get(f"{prefix}.attention_var")
    x = norm(sums["attention_var"], weights, f"{prefix}.attention_norm", shape.eps, root)
    sites["activation"] = linear(x, weights, f"{prefix}.ffn_in")
    act = forms.get(f"{prefix}.activation", ACTIVATIONS[(shape.student_act if adapted else "") or shape.act])
    sums["output_var"] = x + linear(act(sites["activation"]), weights, f"{prefix}.ffn_out")
    root = forms.get(f"{prefix}.output_var")
    hidden = norm(sums["output_var"], weights, f"{prefix}.output_norm", shape.eps, root)
    return Trace(hidden, attention, sites, sums)


def insert(x: Tensor, rows: Rows, prompt: Tensor) -> tuple[Tensor, Rows]:
    """Put prompt rows `[B, n, h]` after every text's first row, as the plan's `insert` does."""
    padded, mask = rows.pad(x), rows.mask
    joined = torch.cat([padded[:, :1], prompt, padded[:, 1:]], 1)
    ones = mask.new_ones(prompt.shape[:2])
    mask = torch.cat([mask[:, :1], ones, mask[:, 1:]], 1)
    rows = Rows(mask, rows.nominal + prompt.shape[1])
    return rows.unpad(joined), rows


def encode(
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
    """Every layer's trace and the pooled unit embedding `[B, h]`; `prompt` enters before layer `at`."""
    traces = []
    for layer in range(shape.layers):
        if prompt is not None and layer == at:
            x, rows = insert(x, rows, prompt)
        traces.append(encoder_layer(x, rows, weights, layer, shape, adapted=adapted, forms=forms))
        x = traces[-1].hidden
    return traces, functional.normalize(rows.mean(x), dim=-1), rows
