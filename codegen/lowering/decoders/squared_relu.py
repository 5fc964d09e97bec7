"""Causal attention by squared ReLU features: as `lowering/squared_relu.py`, of rotated queries and keys, in the
quadratic order.

A projection of a rotated row is no product with the row itself, so queries and keys are truncated first. Keys of a
group share their features. Weights φ(q_i)·φ(k_j) are made for pairs j ≤ i, as causal softmax attention makes its own:
that sends less than prefix sums of φ(k) vᵀ up to some hundred rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ring.values import Floats, WideWeights
from ..scales import ROW, TURN
from ..squared_relu import kernel_scale, square_bits, squared_relu
from .attention import CausalAttention


@dataclass(frozen=True)
class CausalSquaredReluAttention(CausalAttention):
    """Attention of normalised rows by squared ReLU features."""

    def _keyed(self, key: int) -> int:
        return self._features("key", self.r.trunc(key, ROW), 1.0)

    def _asking(self, x: int, query: int, log_keys: int | None) -> tuple[int, ...]:
        # queries come over √D
        return (self._features("query", self.r.trunc(query, ROW), self.v.attrs["head_dim"] ** 0.5),)

    def _made(self, asked: tuple[int, ...], key: int, allowed: int | None) -> int:
        r, (query,) = self.r, asked
        largest = self.v.attrs["features"] * r[query].bound * r[key].bound
        weights = r.matmul(query, key, bound=largest)
        return r.trunc(weights if allowed is None else r.mul(weights, allowed), kernel_scale(r, query, key))

    def _features(self, which: str, rows: int, factor: float) -> int:
        """φ `[R, heads, 2F]` of rotated queries or keys `[R, heads, D]` over a factor."""
        r, features = self.r, self.v.attrs["features"]
        _, heads, dim = r[rows].shape
        site = f"layers.{self.v.attrs['layer']}.feature_{which}"
        weight, bias, bits = f"{site}.weight", f"{site}.bias", square_bits(self.ranges, site)
        turn = 2 * 2.0 ** (bits / 2)

        def matrix(w: WideWeights) -> Floats:
            return np.asarray(factor / turn * np.swapaxes(w[weight].reshape(heads, features, dim), 1, 2))

        m = r.weight(weight, (heads, dim, features), TURN, matrix)
        b = r.weight(bias, (heads, 1, features), TURN + ROW, lambda w: w[bias].reshape(heads, 1, features) / turn)
        u = r.add(r.matmul(r.permute(rows, (1, 0, 2)), m), b)
        return squared_relu(r, r.permute(u, (1, 0, 2)), bits)
