"""An encoder layer in the ring: attention, feed-forward network and two layer norms in 28 rounds.

What makes it cheap: the affine part of a layer norm, the projection to random features, the centring of a row and the
linear half of the activation are folded into weights by the model owner beforehand; sums stay additive until one
truncation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..plan.graph import Value
from ..ring.builder import RingBuilder
from ..series.ranges import Ranges
from .attention import RandomFeatureAttention
from .feed_forward import feed_forward
from .heads import Attention, Part
from .health import Health, Watch
from .layer_norm import Norm, centred, normalise
from .scales import ROW
from .softmax import SoftmaxAttention
from .squared_relu import SquaredReluAttention

ATTENTIONS: dict[str, type[Attention]] = {
    "softmax": SoftmaxAttention, "folded": RandomFeatureAttention, "paper": RandomFeatureAttention,
    "relu2": SquaredReluAttention,
}  # fmt: skip


@dataclass(frozen=True)
class LayerLowering:
    """Lowers encoder layers; `sum_scale`: scale of the sums before a layer norm, one of `scales.SUMS`."""

    r: RingBuilder
    ranges: Ranges
    sum_scale: int
    health: Health | None = None
    """Where wrong rows are counted, if they are."""

    def layer(
        self,
        v: Value,
        parts: tuple[Part, ...],
        reads: tuple[int, ...],
        norm: Norm,
        mean: int | None = None,
        live: int | None = None,
    ) -> int:
        """x̂ of the layer below, whose affine part is `norm` → x̂ of the rows that `reads` names, scale `ROW`, 0 where
        the mask `live` `[R]` is; or their mean with weights `mean` `[1, R]`.

        `parts`: all rows, which keys and values are made of, 0 where their mask is. `reads`: ids of rows `[R, h]` that
        the layer's output is needed for, stacked in the result; dead rows cost nothing.
        """
        r, ranges, a = self.r, self.ranges, v.attrs
        site = f"layers.{a['layer']}"
        kind = ATTENTIONS[a["variant"] if a["attention"] == "rfa" else "softmax"]
        watch = self._watch(parts[0], reads)
        attention = kind(r, ranges, v, norm, watch).attend(parts, reads)
        y = self._attention_sum(a["layer"], attention, reads, norm)
        x = normalise(r, ranges, y, a["attention_eps"], f"{site}.attention_var", watch=watch)
        y = feed_forward(r, ranges, v, x, self.sum_scale)
        return normalise(r, ranges, y, a["output_eps"], f"{site}.output_var", mean=mean, live=live, watch=watch)

    def _watch(self, tokens: Part, reads: tuple[int, ...]) -> Watch | None:
        """Of the rows of `reads`: tokens count where the mask keeps them; a single row and the prompt's always."""
        if self.health is None:
            return None
        first, *more = (self.r[x].shape[0] for x in reads)
        if tokens.mask is None or first != self.r[tokens.rows].shape[0]:
            return self.health.watching(None)
        if not more:
            return self.health.watching(tokens.mask)
        ones = self.r.weight(f"constant.live.{sum(more)}", (sum(more),), 0, lambda w: np.ones(sum(more)))
        return self.health.watching(self.r.concat((tokens.mask, ones), -1))

    def _attention_sum(self, i: int, attention: int, reads: tuple[int, ...], norm: Norm) -> int:
        """W_o·attention + b_o + (gamma∘x̂ + beta) less its mean, additive."""
        r, scale = self.r, self.sum_scale - ROW
        hidden = r[reads[0]].shape[-1]
        weight, bias = f"layers.{i}.o.weight", f"layers.{i}.o.bias"
        m = r.matrix(weight, (r[attention].shape[-1], hidden), scale, lambda w: centred(w[weight].T))
        g = r.weight(f"layers.{i}.residual", (hidden,), scale, lambda w: w[norm.gamma])
        mean = r.weight(f"layers.{i}.residual_mean", (hidden, 1), scale, lambda w: w[norm.gamma][:, None] / hidden)
        b = r.weight(bias, (hidden,), self.sum_scale, lambda w: centred(w[bias] + w[norm.beta]))
        residual = r.concat(tuple(r.sub(r.mul(x, g), r.matmul(x, mean)) for x in reads), -2)
        return r.add(r.add(r.product(attention, m), residual), b)
