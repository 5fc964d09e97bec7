"""An encoder layer in the ring: random-feature attention, feed-forward network and two layer norms in 31 to 33 rounds.

What makes it cheap: the affine part of a layer norm, the projection to random features, the head's temperature, the
centring of a row and the linear half of GELU are all folded into weights by the model owner beforehand; sums stay
additive until one truncation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from ..plan.graph import Value
from ..ring.builder import Ring, bits_for
from ..ring.values import HEADROOM, Weights
from ..series.activations import ACTIVATIONS
from ..series.nonlinear import even_part, inverse_root, reciprocal
from ..series.ranges import Ranges

Floats = NDArray[np.float64]
ROW = 16
TURN = 48
"""Scale of weights that make phases out of rows: 16 + 48 = 64, one turn is the ring."""
LEAST = 12
"""Least scale of an attention numerator that is still useful."""


@dataclass(frozen=True)
class Part:
    """Some of a layer's rows: normalised rows `[R, h]` and their mask `[R]` (scale 0), None where all rows count."""

    rows: int
    mask: int | None


class LayerLowering:
    """Lowers encoder layers; `sum_scale`: scale of the sums before a layer norm, the largest values of a layer."""

    def __init__(self, ring: Ring, ranges: Ranges, sum_scale: int) -> None:
        self.r = ring
        self.ranges = ranges
        self.sum_scale = sum_scale

    def layer(
        self, v: Value, parts: tuple[Part, ...], reads: tuple[int, ...], gamma: str, beta: str, mean: int | None = None
    ) -> int:
        """x̂ of the layer below and its affine part (weight names) → x̂ of the rows that `reads` names, scale 16, or
        their mean with weights `mean` `[1, R]`.

        `parts`: all rows, which keys and values are made of. `reads`: ids of rows `[R, h]` that the layer's output is
        needed for, stacked in the result; dead rows cost nothing. Parts of different stages meet as late as attention
        lets them: keys and values of the tokens are computed once an example, those of a prompt once a candidate, and
        only the sums S and n are added a pair.
        """
        i, a = v.attrs["layer"], v.attrs
        attention = self._attention(v, parts, reads, gamma, beta)
        y = self._attention_sum(i, attention, reads, gamma, beta)
        normed = self.normalise(y, a["attention_eps"], f"layers.{i}.attention_var")
        return self.normalise(self._feed_forward(v, normed), a["output_eps"], f"layers.{i}.output_var", mean=mean)

    # attention

    def _attention(self, v: Value, parts: tuple[Part, ...], reads: tuple[int, ...], gamma: str, beta: str) -> int:
        r, a = self.r, v.attrs
        heads, dim, features = a["heads"], a["head_dim"], a["features"]
        rows = sum(r[part.rows].shape[0] for part in parts)
        bits = bits_for(rows)
        sums, counts = [], []
        for part in parts:
            total, count = self._attended(v, part, gamma, beta)
            # S/2^bits and n/2^bits at scale 20
            sums.append(r.trunc(total, 20, -bits))
            counts.append(r.trunc(count, 20, -bits))
        summed, counted = self._added(sums), self._added(counts)
        queries = [r.permute(self._features(v, "query", x, gamma, beta), (1, 0, 2)) for x in reads]
        fold = floor(log2(features))
        # |φ(q)·φ(k)| <= F bounds what follows, whatever the sums are
        most = features * max(r[x].bound for x in sums) * 2**bits / rows
        denominator = r.concat(tuple(r.matmul(q, counted, bound=float(features)) for q in queries), -2)
        inverse = self._inverse_denominator(v, denominator, rows, bits, fold)
        # as much precision as the product with the inverse leaves room for
        room = floor(HEADROOM - r[inverse].scale - log2(r[inverse].bound * most * 2.0**-fold))
        scale = max(LEAST, min(ROW + 1, room))
        numerator = r.trunc(r.concat(tuple(r.matmul(q, summed, bound=most) for q in queries), -2), scale, -fold)
        out = r.trunc(r.mul(numerator, inverse), ROW)
        r.declare(out, bound=4 * max(r[x].bound for x in sums) * 2**bits / rows)
        out = r.permute(out, (1, 0, 2))
        return r.reshape(out, (r[out].shape[0], heads * dim))

    def _attended(self, v: Value, part: Part, gamma: str, beta: str) -> tuple[int, int]:
        """S `[H, 2F, D]` and n `[H, 2F, 1]` of some rows, additive."""
        r, a = self.r, v.attrs
        heads, dim = a["heads"], a["head_dim"]
        rows = r[part.rows].shape[0]
        key = r.permute(self._features(v, "key", part.rows, gamma, beta), (1, 2, 0))
        value = self._projected(a["layer"], "v", part.rows, gamma, beta, heads * dim)
        most = rows * r[value].bound
        if part.mask is None:
            count = r.sum(key, -1)
        else:
            mask = r.reshape(part.mask, (rows, 1))
            value = r.reshare(r.mul(value, mask, bound=r[value].bound))
            count = r.matmul(key, mask, bound=float(rows))
        value = r.permute(r.reshape(value, (rows, heads, dim)), (1, 0, 2))
        return r.matmul(key, value, bound=most), count

    def _added(self, values: list[int]) -> int:
        total = values[0]
        for value in values[1:]:
            total = self.r.add(total, value)
        return total

    def _inverse_denominator(self, v: Value, denominator: int, rows: int, bits: int, fold: int) -> int:
        """(2^fold/F)(2^bits/R) / max(x, floor) for x = denominator·2^bits/(F·R): what the numerator's scale leaves
        to do."""
        features, smallest = v.attrs["features"], v.attrs["floor"]
        padded = 2**bits / rows
        low, high = (x / padded for x in self.ranges.denominator(f"layers.{v.attrs['layer']}.den"))
        theta, turn = self.r.phase(denominator, features * 1.2 * (high - low))
        factor = 2.0**fold / features * padded
        return self.r.fourier(theta, reciprocal(low, high, turn / features, factor=factor, unit=padded, floor=smallest))

    def _features(self, v: Value, name: str, x: int, gamma: str, beta: str) -> int:
        """φ of the queries or keys of some rows, `[R, H, 2F]`."""
        make = self._paper_features if v.attrs["variant"] == "paper" else self._folded_features
        return make(v, name, x, gamma, beta)

    def _folded_features(self, v: Value, name: str, x: int, gamma: str, beta: str) -> int:
        """Straight from the rows: one product, no truncation."""
        r, a = self.r, v.attrs
        rows, hidden = r[x].shape
        width = a["heads"] * a["features"]
        kernel, bias = (f"layers.{a['layer']}.phase_{name}.{part}" for part in ("weight", "bias"))
        m = r.weight(kernel, (hidden, width), TURN, lambda w: (w[kernel] * w[gamma]).T)
        b = r.weight(bias, (width,), TURN + ROW, lambda w: w[bias] + w[kernel] @ w[beta])
        return r.cos_sin(r.reshape(r.add(r.matmul(x, m), b), (rows, a["heads"], a["features"])))

    def _paper_features(self, v: Value, name: str, x: int, gamma: str, beta: str) -> int:
        """Of q/‖q‖ or k/‖k‖ (Peng et al. 2021): phases Ω·q/(2π‖q‖)."""
        r, a = self.r, v.attrs
        i, heads, dim, features = a["layer"], a["heads"], a["head_dim"], a["features"]
        rows = r[x].shape[0]
        row = r.reshape(self._projected(i, name[0], x, gamma, beta, heads * dim), (rows, heads, dim))
        low, high = self.ranges.interval(f"layers.{i}.{name[0]}_norm2", (0.05, 100.0))
        theta, period = r.phase(r.sum(r.mul(row, row), -1), 1.2 * (high - low))
        inverse = r.fourier(theta, inverse_root(low, high, period))
        unit = r.declare(r.trunc(r.mul(row, inverse, bound=1.1), ROW), norm=1.1)
        omega = f"layers.{i}.features"
        kernel = r.weight(
            omega, (heads, dim, features), TURN, lambda w: np.asarray(np.swapaxes(w[omega], 1, 2) / (2 * np.pi))
        )
        return r.cos_sin(r.permute(r.matmul(r.permute(unit, (1, 0, 2)), kernel), (1, 0, 2)))

    def _projected(self, i: int, name: str, x: int, gamma: str, beta: str, width: int) -> int:
        """One of q, k, v `[R, width]` at scale 16."""
        r = self.r
        kernel, bias = f"layers.{i}.{name}.weight", f"layers.{i}.{name}.bias"
        m = r.weight(kernel, (r[x].shape[-1], width), 24, lambda w: (w[kernel] * w[gamma]).T)
        b = r.weight(bias, (width,), 24 + ROW, lambda w: w[bias] + w[kernel] @ w[beta])
        return r.trunc(r.add(r.matmul(x, m), b), ROW)

    def _attention_sum(self, i: int, attention: int, reads: tuple[int, ...], gamma: str, beta: str) -> int:
        """W_o·attention + b_o + (gamma∘x̂ + beta) less its mean, additive."""
        r, scale = self.r, self.sum_scale - ROW
        hidden = r[reads[0]].shape[-1]
        kernel, bias = f"layers.{i}.o.weight", f"layers.{i}.o.bias"
        m = r.weight(kernel, (r[attention].shape[-1], hidden), scale, lambda w: _centred(w[kernel].T))
        g = r.weight(f"layers.{i}.residual", (hidden,), scale, lambda w: w[gamma])
        mean = r.weight(f"layers.{i}.residual_mean", (hidden, 1), scale, lambda w: w[gamma][:, None] / hidden)
        b = r.weight(bias, (hidden,), self.sum_scale, lambda w: _centred(w[bias] + w[beta]))
        residual = r.concat(tuple(r.sub(r.mul(x, g), r.matmul(x, mean)) for x in reads), -2)
        return r.add(r.add(r.matmul(attention, m), residual), b)

    # feed-forward network

    def _feed_forward(self, v: Value, x: int) -> int:
        """W_2·act(W_1 y + b_1) + b_2 + y with y = gamma∘x̂ + beta, less its mean, additive.

        act(u) = u/2 + e(u): the linear half W_2·W_1/2 and the residual gamma are one matrix, and only the even part e
        is opened.
        """
        r, i, scale = self.r, v.attrs["layer"], self.sum_scale
        hidden, inner = r[x].shape[-1], v.attrs["intermediate"]
        p = f"layers.{i}"
        gamma, beta = f"{p}.attention_norm.gamma", f"{p}.attention_norm.beta"
        act = ACTIVATIONS[v.attrs["act"]]
        width = self.ranges.activation_width(f"{p}.activation", act.linear_beyond)
        fit = even_part(act.name, width, v.attrs["harmonics"])
        first = r.weight(
            f"{p}.ffn_in.weight", (hidden, inner), TURN, lambda w: (w[f"{p}.ffn_in.weight"] * w[gamma]).T / (4 * width)
        )
        offset = r.weight(
            f"{p}.ffn_in.bias",
            (inner,),
            TURN + ROW,
            lambda w: (w[f"{p}.ffn_in.bias"] + w[f"{p}.ffn_in.weight"] @ w[beta]) / (4 * width),
        )
        bent = r.fourier(r.add(r.matmul(x, first), offset), fit)
        second = r.weight(
            f"{p}.ffn_out.weight", (inner, hidden), scale - fit.scale, lambda w: _centred(w[f"{p}.ffn_out.weight"].T)
        )

        def straight(w: Weights) -> Floats:
            half = w[f"{p}.ffn_out.weight"] @ w[f"{p}.ffn_in.weight"] / 2
            return _centred(((half + np.eye(hidden)) * w[gamma]).T)

        def constant(w: Weights) -> Floats:
            inside = w[f"{p}.ffn_in.bias"] + w[f"{p}.ffn_in.weight"] @ w[beta]
            return _centred(w[f"{p}.ffn_out.bias"] + w[beta] + w[f"{p}.ffn_out.weight"] @ inside / 2)

        linear = r.weight(f"{p}.ffn_linear.weight", (hidden, hidden), scale - ROW, straight)
        bias = r.weight(f"{p}.ffn_out.bias", (hidden,), scale, constant)
        return r.add(r.add(r.matmul(bent, second), r.matmul(x, linear)), bias)

    # layer norm

    def normalise_any(self, y: int, eps: float, site: str) -> int:
        """Layer norm without its affine part of rows that no weights have centred.

        h·y - Σy is the centred row times h, in integers; layer norm does not see the factor.
        """
        r = self.r
        hidden = r[y].shape[-1]
        bits = bits_for(hidden)
        return self.normalise(r.sub(r.times(y, hidden), r.sum(y, -1)), eps, site, bits)

    def normalise(self, centred: int, eps: float, site: str, bits: int = 0, mean: int | None = None) -> int:
        """Layer norm without its affine part: centred rows `[…, h]` → x̂ at scale 16, ‖x̂‖ <= √h.

        `bits` > 0: the rows are h times too large, and the truncation takes 2^bits of that away. `mean`: weights
        `[1, R]` that add up to one; the result is the mean of x̂ `[1, h]`. x̂ is a row times its scale, so the weights
        meet the scales, and one row is truncated instead of R.
        """
        r = self.r
        hidden = r[centred].shape[-1]
        shrink = hidden / 2.0**bits if bits else 1.0
        low, high = self.ranges.variance(site)
        low, high = low * shrink**2, high * shrink**2
        row = r.trunc(centred, ROW, -bits)
        # a row inside the calibrated interval is no longer than √(h·high); one outside is the caller's risk, not an
        # overflow
        r.declare(row, bound=2 * sqrt(hidden * high))
        square = r.sum(r.mul(row, row), -1)
        theta, period = r.phase(square, 1.2 * hidden * (high - low))
        fit = inverse_root(hidden * low, hidden * high, period, divisor=hidden, eps=eps * shrink**2)
        scale = r.fourier(theta, fit)
        longest = 1.02 * sqrt(hidden)
        if mean is None:
            normed = r.mul(row, scale, bound=longest)
        else:
            normed = r.matmul(r.trunc(r.mul(mean, r.reshape(scale, r[mean].shape)), 32), row, bound=longest)
        return r.declare(r.trunc(normed, ROW), norm=longest)


def _centred(m: Floats) -> Floats:
    """A matrix or vector whose products have rows of mean zero: the last axis less its mean."""
    return np.asarray(m - m.mean(axis=-1, keepdims=True))
