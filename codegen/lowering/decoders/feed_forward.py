"""A decoder's feed-forward network in the ring.

Gated: W_out (act(g) ∘ u) with g = W_gate x, u = W_in x. act(g) = g/2 + e(g): its linear half meets u as well, so g/2
and u are truncated, next to the opening of e. Plain: W_out e(u) + (W_out W_in/2) x, as in an encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...commandline.problems import Problem, ProblemsFound
from ...plan.graph import Value
from ...ring.builder import RingBuilder
from ...ring.values import Floats, WideWeights
from ...series.activations import OF_DECODERS
from ...series.classes import Neurons, alike
from ...series.nonlinear import even_part
from ...series.ranges import Ranges
from ..feed_forward import even_parts, neurons_of
from ..layer_norm import Norm
from ..scales import BENT, ROW, TURN, WEIGHT

WORST = 0.02
"""Error of an activation's fit that is still accepted."""


@dataclass(frozen=True)
class FeedForward:
    """The network of layer `v`; `written` makes of a matrix or vector what may be added to the residual stream."""

    r: RingBuilder
    ranges: Ranges
    v: Value
    sum_scale: int
    written: Callable[[Floats], Floats]

    def __call__(self, x: int) -> int:
        """W_out·… of rows x̂ `[R, h]`, additive, at `sum_scale`. Right where activations' inputs lie within the interval
        that `ranges` has for the layer. Raises ProblemsFound where no series serves that."""
        return self._gated(x) if self.v.attrs["gated"] else self._plain(x)

    @property
    def _site(self) -> str:
        return f"layers.{self.v.attrs['layer']}"

    @property
    def _norm(self) -> Norm:
        return Norm(f"{self._site}.ffn_norm.gamma", f"{self._site}.ffn_norm.beta")

    @cached_property
    def _neurons(self) -> Neurons:
        act = OF_DECODERS[self.v.attrs["act"]]
        # a gate's outliers meet those of what it lets through: SmolLM2's layer 2 makes the rows of names thirty times
        # longer by one gate of 15. With intervals that leave 0.01 % of gates out its perplexity is 5 % higher
        outliers = bool(self.v.attrs["gated"])
        width = self.ranges.activation_width(f"{self._site}.activation", act.linear_beyond, outliers=outliers)
        # for the same reason all neurons of a gate have the layer's interval
        inner, gated = self.v.attrs["intermediate"], self.v.attrs["gated"]
        one = alike(inner, width, even_part(act.name, width)) if gated else None
        neurons = one or neurons_of(self.r, self.ranges, self.v, act, width)
        error = max(each.fit.error for each in neurons.classes)
        if error > WORST:
            raise ProblemsFound([Problem(
                "error",
                f"layer {self.v.attrs['layer']}: inputs of {act.name} lie within ±{2 * width - act.linear_beyond:.0f}",
                f"The longest series errs by {error:.2g} there, accepted: {WORST}.",
            )])  # fmt: skip
        return neurons

    def _product(self, x: int, name: str, scale: int, factor: Floats | float, suffix: str = "") -> int:
        """factor·(W y + b) `[R, inner]` in the neurons' order, additive, weights at a scale."""
        r, norm, inner, order = self.r, self._norm, self.v.attrs["intermediate"], self._neurons.order
        weight, bias = (f"{self._site}.{name}.{part}" for part in ("weight", "bias"))
        m = r.matrix(
            weight + suffix, (r[x].shape[-1], inner), scale, lambda w: factor * norm.matrix(w, weight)[:, order]
        )
        b = r.weight(bias + suffix, (inner,), scale + ROW, lambda w: factor * norm.offset(w, weight, bias)[order])
        return r.add(r.product(x, m), b)

    def _out(self, bent: int, constant: Callable[[WideWeights], Floats]) -> int:
        """W_out·inner + constant."""
        r, p = self.r, self._site
        weight, bias = f"{p}.ffn_out.weight", f"{p}.ffn_out.bias"
        inner, hidden, order = r[bent].shape[-1], self.v.shape[-1], self._neurons.order
        scale = self.sum_scale - r[bent].scale
        m = r.matrix(weight, (inner, hidden), scale, lambda w: self.written(w[weight].T[order]))
        b = r.weight(bias, (hidden,), self.sum_scale, lambda w: self.written(constant(w)))
        return r.add(r.product(bent, m), b)

    def _gated(self, x: int) -> int:
        r, p = self.r, self._site
        turns = r.turns(self._product(x, "ffn_gate", TURN, 1 / self._neurons.periods, ".phase"))
        bent = even_parts(r, turns, self._neurons, ROW)
        half = r.trunc(self._product(x, "ffn_gate", WEIGHT, 0.5), ROW)
        up = r.trunc(self._product(x, "ffn_in", WEIGHT, 1.0), ROW)
        gate = r.add(bent, half)
        # four times what calibration saw, as such products have heavy tails: one beyond that is the caller's risk
        largest = 4 * self.ranges.largest(f"{p}.product", 2.0**15)
        inner = r.declare(r.trunc(r.mul(gate, up, bound=largest), ROW), bound=largest)
        return self._out(inner, lambda w: np.asarray(w[f"{p}.ffn_out.bias"]))

    def _plain(self, x: int) -> int:
        r, p, norm = self.r, self._site, self._norm
        turns = r.turns(self._product(x, "ffn_in", TURN, 1 / self._neurons.periods, ".phase"))
        bent = even_parts(r, turns, self._neurons, BENT)
        w1, b1, w2, b2 = (f"{p}.ffn_{name}" for name in ("in.weight", "in.bias", "out.weight", "out.bias"))
        hidden = self.v.shape[-1]

        def straight(w: WideWeights) -> Floats:
            return self.written(((w[w2] @ w[w1] / 2) * w[norm.gamma]).T)

        linear = r.matrix(f"{p}.ffn_linear.weight", (hidden, hidden), self.sum_scale - ROW, straight)
        out = self._out(bent, lambda w: np.asarray(w[b2] + w[w2] @ norm.offset(w, w1, b1) / 2))
        return r.add(out, r.product(x, linear))
