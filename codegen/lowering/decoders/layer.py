"""A decoder layer in the ring: y = x + W_o·attention(norm x), then y + ffn(norm y).

Every row of the residual stream is truncated once per sublayer, and serves both the norm and the next sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...plan.graph import Value
from ...ring.builder import RingBuilder
from ...ring.values import Floats
from ...series.ranges import Ranges
from ..health import Health, Watch
from ..layer_norm import Norm, centred
from ..scales import ROW
from .attention import COUNTED, CausalAttention, Keys
from .feed_forward import FeedForward
from .norm import normalised, stream_scale
from .squared_relu import CausalSquaredReluAttention


@dataclass(frozen=True)
class DecoderLowering:
    """Lowers decoder layers; `sum_scale`: scale of what is added to the residual stream."""

    r: RingBuilder
    ranges: Ranges
    sum_scale: int
    health: Health | None = None
    _known: dict[tuple[str, int, int], int] = field(default_factory=dict)
    _keys: dict[tuple[int, int], Keys] = field(default_factory=dict)

    def layer(self, v: Value, mask: int, parts: tuple[int, ...], taken: tuple[int, int] | None) -> int:
        """Rows behind layer `v`: those of the last of `parts`, or its rows lo ≤ i < hi (`taken`). `mask` `[R]` keeps
        rows of the first part; all others are there."""
        r = self.r
        attention = self._attention(v, self._watch(mask, parts))
        keys, end = self._all_keys(attention, mask, parts)
        x, hat = parts[-1], self._hat(v, parts[-1], mask if len(parts) == 1 else None)
        counts = self._log_keys(v, mask, parts[0], end - r[x].shape[0], end)
        if taken is None:
            out = attention.causal(hat, end, keys[:-1], keys[-1], counts)
        else:
            x, hat = (r.slice(each, -2, *taken) for each in (x, hat))
            counts = None if counts is None else r.slice(counts, -2, *taken)
            out = attention.causal(hat, end, keys, None, counts)
        return self._sums(v, x, out, mask, parts)

    def step(self, v: Value, mask: int, parts: tuple[int, ...], rows: int, capacity: int) -> int:
        """A step's rows `[n, h]` behind layer `v`, where `capacity` rows of all steps are remembered."""
        attention = self._attention(v, None)
        keys, end = self._all_keys(attention, mask, parts)
        counts = self._log_keys(v, mask, parts[0], end, end + capacity, self.r[rows].shape[0])
        out = attention.stepped(self._hat(v, rows, None), end, capacity, keys, counts)
        return self._sums(v, rows, out, mask, (*parts, rows))

    def _attention(self, v: Value, watch: Watch | None) -> CausalAttention:
        norm = Norm(*(f"layers.{v.attrs['layer']}.input_norm.{part}" for part in ("gamma", "beta")))
        kind = CausalSquaredReluAttention if v.attrs["attention"] == "rfa" else CausalAttention
        return kind(self.r, self.ranges, v, norm, watch)

    def _all_keys(self, attention: CausalAttention, mask: int, parts: tuple[int, ...]) -> tuple[list[Keys], int]:
        """Keys and values of all parts, and the slot that they end at."""
        keys, end = [], 0
        for i, part in enumerate(parts):
            lo, end = end, end + self.r[part].shape[0]
            keys.append(self._part(attention, part, mask if i == 0 else None, lo, end))
        return keys, end

    def _part(self, attention: CausalAttention, part: int, mask: int | None, lo: int, end: int) -> Keys:
        """Keys and values of a part, made once for all layers' rows that attend to it."""
        r, layer = self.r, attention.v.attrs["layer"]
        if (key := (layer, part)) not in self._keys:
            kept, sink = None, None
            if mask is not None:
                rows = end - lo
                kept = r.slice(mask, -1, lo, end)
                sink = r.reshape(self._first_slot(mask, rows), (rows, 1))
                kept = r.reshape(kept, (rows, 1))
            self._keys[key] = attention.keys(self._hat(attention.v, part, mask), end, kept, sink)
        return self._keys[key]

    def _log_keys(self, v: Value, mask: int, first: int, lo: int, hi: int, step: int = 0) -> int | None:
        """log(i − s + 1) `[n, 1]` of slots lo ≤ i < hi, or of the `step` of them that a step's rows stand in: how many
        keys a row in slot i sees if the first token stands in slot s of the `first` part. A public table, of which the
        row of one slot s is taken, in shares: local. None where estimates do not know it."""
        if "log_sum.keys" not in v.weights:
            return None
        r, rows = self.r, self.r[first].shape[0]
        if (key := (f"log keys {step}", rows, hi)) not in self._known:
            numbers = np.arange(lo, hi)[:, None] - np.arange(rows) + 1
            table = r.table(f"log_keys.{rows}.{lo}-{hi}", np.log(np.maximum(numbers, 1)), COUNTED)
            table = r.window(table, step) if step else table
            sink = r.reshape(self._first_slot(mask, rows), (1, rows))
            taken = r.reshape(r.sum(r.mul(table, sink), -1), (step or hi - lo, 1))
            self._known[key] = r.declare(taken, bound=float(np.log(hi + 1)))
        return self._known[key]

    def _first_slot(self, mask: int, rows: int) -> int:
        """m_{j+1} − m_j of the first rows: 1 in the slot before the first that is there. Behind the last row is one
        that is there, or nothing that asks."""
        r = self.r
        whole = r[mask].shape[0]
        following = r.slice(mask, -1, 1, min(rows + 1, whole))
        if rows == whole:
            following = r.concat((following, r.slice(mask, -1, whole - 1, whole)), -1)
        return r.sub(following, r.slice(mask, -1, 0, rows))

    def _hat(self, v: Value, part: int, mask: int | None) -> int:
        """x̂ of a part, 0 where its mask is, made once per layer."""
        key = ("hat", v.attrs["layer"], part)
        if key not in self._known:
            r = self.r
            live = None if mask is None else r.slice(mask, -1, 0, r[part].shape[0])
            watch = self._watching(live)
            site = f"layers.{v.attrs['layer']}.input_norm_var"
            self._known[key] = normalised(r, self.ranges, part, v.attrs["eps"], site, live, watch)
        return self._known[key]

    def _sums(self, v: Value, x: int, attention: int, mask: int, parts: tuple[int, ...]) -> int:
        """Both residual sums behind the attention's outputs `[R, H·D]`."""
        r, a, p = self.r, v.attrs, f"layers.{v.attrs['layer']}"
        written = centred if a["norm"] == "layer" else np.asarray
        weight, bias = f"{p}.o.weight", f"{p}.o.bias"
        hidden = v.shape[-1]

        def matrix(w: Floats) -> Floats:
            return np.asarray(written(w))

        m = r.matrix(weight, (r[attention].shape[-1], hidden), self.sum_scale - ROW, lambda w: matrix(w[weight].T))
        b = r.weight(bias, (hidden,), self.sum_scale, lambda w: matrix(w[bias]))
        scale = min(stream_scale(self.ranges, f"{p}.ffn_norm_var"), self.sum_scale - 1)
        y = self._row(r.add(r.product(attention, m), b), x, scale)
        rows = r[y].shape[0]
        live = r.slice(mask, -1, 0, rows) if len(parts) == 1 and rows == r[parts[0]].shape[0] else None
        hat = normalised(r, self.ranges, y, a["eps"], f"{p}.ffn_norm_var", watch=self._watching(live))
        return self._row(FeedForward(r, self.ranges, v, self.sum_scale, matrix)(hat), y, scale)

    def _row(self, added: int, x: int, scale: int) -> int:
        """x and what is added to it at a scale."""
        r = self.r
        return r.trunc(r.add(added, r.raise_scale(x, self.sum_scale)), scale)

    def _watch(self, mask: int, parts: tuple[int, ...]) -> Watch | None:
        return self._watching(self.r.slice(mask, -1, 0, self.r[parts[0]].shape[0]) if len(parts) == 1 else None)

    def _watching(self, live: int | None) -> Watch | None:
        return self.health.watching(live) if self.health else None
