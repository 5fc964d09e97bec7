"""Causal softmax attention in the ring: as `lowering/softmax.py`, over keys that are not behind a row.

Rows are cut into blocks: one meets all keys before it, and its own under a public triangle of ones, so that about half
of all pairs are computed. Queries of a group share one head of keys. The public first token's key and value are added
in the slot before the text (`plan/decoder.py`): a product of a mask's differences, which are local, and two weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil
from typing import NamedTuple

import numpy as np

from ...ring.values import WideWeights
from ...series.ranges import CAUSAL_SUM_END
from ...series.softmax import CAUSAL_BEYOND
from ..scales import ROW
from ..softmax import SoftmaxAttention
from .norm import normalised
from .rotation import rotated

COUNTED = 10
"""Scale of the logarithm of a number of keys."""
PROJECTION = 20
"""Scale of W_q and W_k: with a row's and a rotation's, 47 bits."""
BLOCKS = 8
"""Blocks that a part's rows are cut into, of at least so many rows."""


class Keys(NamedTuple):
    """What attention takes of a part of the rows."""

    key: int
    """`[KV, D, R]`, scale `ROW`."""
    value: int
    """`[KV, R, D]`, scale `ROW`, 0 where the mask is."""
    mask: int | None
    """`[R, 1]`, None where all rows count."""


@dataclass(frozen=True)
class CausalAttention(SoftmaxAttention):
    """Attention of normalised rows; `norm` is the affine part that they lack."""

    advice = ""
    least_end = CAUSAL_SUM_END
    beyond = CAUSAL_BEYOND

    def keys(self, x: int, end: int, mask: int | None, sink: int | None) -> Keys:
        """Keys and values of a part of the rows, x̂ `[R, h]`, that ends at slot `end`; `mask` and `sink` `[R, 1]`: rows
        that are there, and the slot of the first token."""
        r, a = self.r, self.v.attrs
        attended = mask if mask is None or sink is None else r.add(mask, sink)
        key = self._keyed(rotated(r, self._heads("k", x, 1.0, mask, sink), a["rope"], end))
        value = r.trunc(self._biased("v", x, 1.0, mask, sink), ROW)
        return Keys(r.permute(key, (1, 2, 0)), r.permute(value, (1, 0, 2)), attended)

    def causal(self, x: int, end: int, before: Sequence[Keys], own: Keys | None, log_keys: int | None) -> int:
        """All heads' outputs `[R, H·D]` at scale `ROW` for rows x̂ that end at slot `end`: over the keys `before` them,
        and their `own`, the last R of which none sees those behind it. `log_keys` as in `_centre`."""
        r, a = self.r, self.v.attrs
        rows, groups = r[x].shape[0], a["kv_heads"]
        query = rotated(r, self._heads("q", x, a["head_dim"] ** -0.5), a["rope"], end)
        asking = self._asking(x, query, log_keys)
        block = rows if own is None else max(BLOCKS, ceil(rows / BLOCKS))
        outs = []
        longest = max(r[part.value].bound for part in (*before, *([own] if own else [])))
        for lo in range(0, rows, block):
            hi = min(lo + block, rows)
            asked = tuple(self._grouped(r.slice(part, -3, lo, hi), groups) for part in asking)
            parts: list[tuple[Keys, int | None]] = [(part, None) for part in before]
            if own is not None:
                parts += [(_cut(self, own, 0, lo), None)] if lo else []
                parts += [(_cut(self, own, lo, hi), self._triangle(hi - lo))]
            outs.append(self._weighed(asked, parts, hi - lo))
        totals, numerators = zip(*outs, strict=True)
        return self.divided(r.concat(totals, -2), r.concat(numerators, -2), longest)

    def stepped(self, x: int, end: int, capacity: int, before: Sequence[Keys], log_keys: int | None) -> int:
        """All heads' outputs `[n, H·D]` at scale `ROW` for a step's rows x̂, over the keys `before` slot `end`, those
        of the steps before, and their own up to each; their keys and values go to states for `capacity` rows."""
        r, a = self.r, self.v.attrs
        rows, groups, site = r[x].shape[0], a["kv_heads"], f"layers.{a['layer']}"

        def turned(y: int) -> int:
            return rotated(r, y, a["rope"], end, steps=capacity)

        asking = self._asking(x, turned(self._heads("q", x, a["head_dim"] ** -0.5)), log_keys)
        key = r.append(f"{site}.key", self._keyed(turned(self._heads("k", x, 1.0))), capacity)
        value = r.append(f"{site}.value", r.trunc(self._biased("v", x, 1.0, None, None), ROW), capacity)
        own = Keys(r.permute(key, (1, 2, 0)), r.permute(value, (1, 0, 2)), None)
        # row i of the step that begins with row t sees rows j ≤ t + i; what is behind has not been written, or is old
        seen = r.window(r.table(f"seen.{capacity}", np.tri(capacity), 0), rows)
        seen = r.concat((seen,) * (a["heads"] // groups), -2)
        asked = tuple(self._grouped(part, groups) for part in asking)
        parts: list[tuple[Keys, int | None]] = [*((part, None) for part in before), (own, seen)]
        longest = max(r[part.value].bound for part, _ in parts)
        return self.divided(*self._weighed(asked, parts, rows), longest)

    def _keyed(self, key: int) -> int:
        """What stands for rotated keys `[R, KV, D]`, additive, in a product with queries: themselves."""
        return self.r.trunc(key, ROW)

    def _asking(self, x: int, query: int, log_keys: int | None) -> tuple[int, ...]:
        """What weights are made of for rows x̂, each `[R, H, ·]`: rotated queries `[R, H, D]`, given additive, and the
        estimate c (`_centre`)."""
        return self.r.trunc(query, ROW), self._centre(x, log_keys)

    def _made(self, asked: tuple[int, ...], key: int, allowed: int | None) -> int:
        """Weights `[KV, g·n, R]` of queries on keys `[KV, ·, R]`; `allowed`: public zeros and ones, 0 there."""
        query, centre = asked
        return self._weights(query, key, centre, allowed)

    def _weighed(self, asked: tuple[int, ...], parts: Sequence[tuple[Keys, int | None]], rows: int) -> tuple[int, int]:
        """Sums of weights `[H, R, 1]`, and what they weigh `[H, R, D]`, of grouped queries over parts of the keys, each
        with what its rows may see."""
        r = self.r
        weighed = [(self._made(asked, part.key, allowed), part) for part, allowed in parts]
        numerator = reduce(r.add, (r.matmul(w, part.value) for w, part in weighed))
        total = reduce(r.add, (r.sum(w, -1) if p.mask is None else r.matmul(w, p.mask) for w, p in weighed))
        return self._by_head(total, rows), self._by_head(numerator, rows)

    # rows of heads

    def _heads(self, name: str, x: int, factor: float, mask: int | None = None, sink: int | None = None) -> int:
        """q or k `[R, heads, D]`, normalised where the model does that, the first token's key in its slot; additive."""
        if not self.v.attrs["qk_norm"]:
            return self._biased(name, x, factor, mask, sink)
        r, a = self.r, self.v.attrs
        row = r.trunc(self._biased(name, x, 1.0, mask, None), ROW)
        unit = normalised(r, self.ranges, row, a["eps"], f"layers.{a['layer']}.{name}_norm_var")
        gamma = f"layers.{a['layer']}.{name}_norm.gamma"
        y = r.mul(unit, r.weight(gamma, (a["head_dim"],), PROJECTION, lambda w: factor * w[gamma]))
        return y if sink is None else r.add(y, self._first(sink, "key"))

    def _biased(self, name: str, x: int, factor: float, mask: int | None, sink: int | None) -> int:
        """factor·(W x + b) `[R, heads, D]`, additive at scale `PROJECTION` + `ROW`: without b where the mask is 0, and
        with the first token's key or value in its slot."""
        r, a = self.r, self.v.attrs
        heads = a["heads"] if name == "q" else a["kv_heads"]
        width, rows = heads * a["head_dim"], r[x].shape[0]
        weight, bias = (f"layers.{a['layer']}.{name}.{part}" for part in ("weight", "bias"))
        m = r.matrix(weight, (r[x].shape[-1], width), PROJECTION, lambda w: factor * self.norm.matrix(w, weight))
        b = r.weight(bias, (width,), PROJECTION + ROW, lambda w: factor * self.norm.offset(w, weight, bias))
        y = r.add(r.product(x, m), b if mask is None else r.mul(mask, b))
        y = r.reshape(y, (rows, heads, a["head_dim"]))
        return y if sink is None else r.add(y, self._first(sink, "key" if name == "k" else "value"))

    def _first(self, sink: int, part: str) -> int:
        """The public first token's key or value in its slot, 0 elsewhere: `[R, KV, D]`."""
        r, a = self.r, self.v.attrs
        name, shape = f"layers.{a['layer']}.sink.{part}", (a["kv_heads"], a["head_dim"])

        def made(w: WideWeights) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
            return np.asarray(w[name].reshape(shape))

        first = r.weight(name, shape, PROJECTION + ROW, made)
        return r.mul(r.reshape(sink, (r[sink].shape[0], 1, 1)), first)

    def _centre(self, x: int, log_keys: int | None) -> int:
        """The estimate c `[R, H, 1]` of rows' log-sum-exps, at a product's scale, additive; `log_keys` `[R, 1]` at
        scale `COUNTED`: logarithms of how many keys they see, where the estimate knows them."""
        r, a = self.r, self.v.attrs
        weight, bias = (f"layers.{a['layer']}.log_sum.{part}" for part in ("weight", "bias"))
        m = r.weight(weight, (r[x].shape[-1], a["heads"]), ROW, lambda w: self.norm.matrix(w, weight))
        b = r.weight(bias, (a["heads"],), 2 * ROW, lambda w: self.norm.offset(w, weight, bias))
        centre = r.add(r.matmul(x, m), b)
        if log_keys is not None:
            factor = f"layers.{a['layer']}.log_sum.keys"
            n = r.weight(factor, (a["heads"],), 2 * ROW - COUNTED, lambda w: w[factor])
            centre = r.add(centre, r.mul(log_keys, n))
        return r.reshape(centre, (r[x].shape[0], a["heads"], 1))

    def _grouped(self, x: int, groups: int) -> int:
        """`[n, KV·g, D]` as `[KV, g·n, D]`: queries of a group as rows of one matrix."""
        r = self.r
        rows, heads, dim = r[x].shape
        return r.reshape(r.permute(x, (1, 0, 2)), (groups, heads // groups * rows, dim))

    def _by_head(self, x: int, rows: int) -> int:
        """`[KV, g·n, D]` as `[H, n, D]`."""
        r = self.r
        return r.reshape(x, (self.v.attrs["heads"], rows, r[x].shape[-1]))

    def _triangle(self, rows: int) -> int | None:
        """Ones `[g·n, n]` where a row of a block sees a key of it."""
        if rows == 1:
            return None
        group = self.v.attrs["heads"] // self.v.attrs["kv_heads"]
        return self.r.table(f"triangle.{group}x{rows}", np.tile(np.tri(rows), (group, 1)), 0)


def _cut(attention: CausalAttention, keys: Keys, lo: int, hi: int) -> Keys:
    r = attention.r
    mask = None if keys.mask is None else r.slice(keys.mask, -2, lo, hi)
    return Keys(r.slice(keys.key, -1, lo, hi), r.slice(keys.value, -2, lo, hi), mask)
