"""A decoder's operations in numpy, for the float oracle: pre-norm layers of rows that see none behind them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..model.decoders.rope import Rope
from ..series.activations import OF_DECODERS
from ..series.elementary import log_sum_exp
from .execution import LEAST_SUM, Array, Execution, squared_relu
from .graph import Value
from .projection import public_matrix


class DecoderOperations(Execution):
    """One method a kind of operation."""

    def _slice_rows(self, v: Value, x: Array) -> Array:
        return x[:, :, v.attrs["lo"] : v.attrs["hi"]]

    def _join_rows(self, v: Value, *parts: Array) -> Array:
        return stacked(parts)

    def _recall(self, v: Value, rows: Array) -> Array:
        """The rows of all steps up to this one."""
        kept = self.memory.get(v.id, rows[:, :, :0])[:, :, : self.at]
        self.memory[v.id] = stacked((kept, rows))
        return self.memory[v.id]

    def _opened_row(self, v: Value, x: Array) -> Array:
        return x * self._weight(v, "gamma") + self._weight(v, "beta")

    def _offset(self, v: Value, z: Array) -> Array:
        first, dim = v.attrs["first"], v.attrs["intrinsic_dim"]
        a = public_matrix(v.attrs["seed"], v.attrs["bits"], (dim, v.size))
        rows = z[..., first : first + dim] @ np.ldexp(a.astype(z.dtype), v.attrs["unit_bits"] - v.attrs["scale_bits"])
        return np.asarray(rows.reshape(*z.shape[:2], *v.shape))

    def _add_offset(self, v: Value, x: Array, offset: Array) -> Array:
        at, n = v.attrs["at"], offset.shape[2]
        x, offset = _same_batch(x, offset)
        return np.concatenate([x[:, :, :at], x[:, :, at : at + n] + offset, x[:, :, at + n :]], axis=2)

    def _add_first(self, v: Value, x: Array, mask: Array, offset: Array) -> Array:
        """The offset `[c, e, n, h]` on the first n rows that the mask keeps."""
        places = first_rows(mask, offset.shape[2])
        return np.asarray(x + places @ offset)

    def _final_norm(self, v: Value, x: Array, mask: Array | None = None) -> Array:
        y = self._stream_norm(v, x, "final_norm", mask)
        return y if mask is None else y * mask[..., None]

    def _decoder_layer(self, v: Value, reads: Array, mask: Array, *parts: Array) -> Array:
        """Of the rows `reads`, the last of all `parts`."""
        site = f"layers.{v.attrs['layer']}"
        if self._observe is not None:  # it is to see a site's values all at once
            parts = (stacked(parts),)
        ends = np.cumsum([part.shape[2] for part in parts])
        rows = int(ends[-1])
        read = slice(rows - reads.shape[2], rows)
        mask = _extended(mask, rows)
        live = mask[:, :, read]
        # a part that no candidate changes is not computed for each of them
        masks = np.split(mask[:, :, :rows], ends[:-1], axis=2)
        normed = [self._input(v, site, part, keep) for part, keep in zip(parts, masks, strict=True)]
        self._see(f"{site}.hidden", normed[-1][:, :, -reads.shape[2] :], live)
        attention = self._causal_attention(v, site, normed, masks, mask, read)
        self._see(f"{site}.attention_out", attention, live)
        y = reads + self._linear(v, "o", attention)
        return y + self._feed_forward(v, site, y, live)

    def _input(self, v: Value, site: str, x: Array, keep: Array) -> Array:
        """Rows as attention reads them."""
        x = self._stream_norm(v, x, f"{site}.input_norm", keep)
        x *= self._weight(v, "input_norm.gamma")
        x += self._weight(v, "input_norm.beta")
        x *= keep[..., None]
        return x

    def _causal_attention(
        self, v: Value, site: str, parts: list[Array], masks: list[Array], mask: Array, read: slice
    ) -> Array:
        """Softmax attention of the rows `read` over themselves, those before, and the public first token; `masks`: of
        the parts, `mask`: of all rows and those to come."""
        a, rows = v.attrs, read.stop
        keep, live = mask[:, :, :rows], mask[:, :, read]
        sink = first_slot(mask)[:, :, :rows]
        x = parts[-1][:, :, read.start - read.stop :]
        q = self._rotated(v, self._projected(v, site, "q", x, live), rows)
        k = stacked(tuple(self._projected(v, site, "k", part, kept) for part, kept in zip(parts, masks, strict=True)))
        k = k + np.multiply.outer(sink, self._weight(v, "sink.key"))
        self._see(f"{site}.key", k, keep + sink)
        k = self._rotated(v, k, rows)
        value = stacked(
            tuple(self._linear(v, "v", part) * kept[..., None] for part, kept in zip(parts, masks, strict=True))
        )
        value = value + np.multiply.outer(sink, self._weight(v, "sink.value"))
        self._see(f"{site}.value", value, keep + sink)

        # heads of queries in groups, each with one head of keys: [c, e, KV, H/KV, n, D]
        groups, keys, values = (self._grouped(part, a["kv_heads"], a["head_dim"]) for part in (q, k, value))
        before = np.arange(rows) <= np.arange(read.start, read.stop)[:, None]
        allowed = (keep + sink)[:, :, None, None, None] * before > 0
        if a["attention"] == "rfa":
            weights = self._squared_relu_weights(v, site, groups, keys, live, keep + sink) * allowed
            total = weights.sum(axis=-1, keepdims=True)
            self._see(f"{site}.row_sum", np.moveaxis(total.reshape(*total.shape[:2], -1, total.shape[-2]), 2, 3), live)
            out = weights / np.maximum(total, LEAST_SUM) @ values
            return self._joined(out.reshape(*out.shape[:2], -1, *out.shape[-2:]))
        scores = groups @ keys.swapaxes(-1, -2) * a["head_dim"] ** -0.5
        scores = np.where(allowed, scores, -np.inf)
        seen = allowed.any(axis=-1, keepdims=True)
        log_sum = np.where(seen, log_sum_exp(np.where(seen, scores, 0.0)), 0.0)
        if self._observe is not None:
            by_head = (*scores.shape[:2], a["heads"], *scores.shape[-2:])
            flat, sums = scores.reshape(by_head), np.broadcast_to(log_sum, (*scores.shape[:-1], 1))
            log_keys = np.log(np.maximum(allowed[:, :, 0, 0].sum(axis=-1), 1))
            self._see_scores(v, site, x, live, flat, sums.reshape(*by_head[:-1], 1), log_keys)
        out = np.exp(scores - log_sum) @ values
        return self._joined(out.reshape(*out.shape[:2], -1, *out.shape[-2:]))

    def _squared_relu_weights(
        self, v: Value, site: str, queries: Array, keys: Array, live: Array, attended: Array
    ) -> Array:
        """φ(q)·φ(k) of rotated queries `[c, e, KV, g, n, D]` and keys `[c, e, KV, 1, R, D]`: `[c, e, KV, g, n, R]`."""
        a = v.attrs
        parts = []
        for name, x, kept in (("feature_query", queries, live), ("feature_key", keys, attended)):
            groups = (a["kv_heads"], x.shape[3], a["features"])
            weight = self._weight(v, f"{name}.weight").reshape(*groups, -1)
            u = x @ weight.swapaxes(-1, -2) + self._weight(v, f"{name}.bias").reshape(*groups, 1).swapaxes(-1, -2)
            self._see(f"{site}.{name}", np.moveaxis(u, 4, 2), kept)
            parts.append(squared_relu(u))
        return np.asarray(parts[0] @ parts[1].swapaxes(-1, -2))

    def _projected(self, v: Value, site: str, name: str, x: Array, live: Array) -> Array:
        """Queries or keys `[c, e, R, ·]`, normalised per head where the model does that, 0 where rows are dead."""
        y = self._linear(v, name, x)
        if v.attrs["qk_norm"]:
            heads = y.reshape(*y.shape[:-1], -1, v.attrs["head_dim"])
            square = np.square(heads).mean(axis=-1, keepdims=True)
            self._see(f"{site}.{name}_norm_var", square[..., 0], live)
            heads = heads / np.sqrt(square + v.attrs["eps"]) * self._weight(v, f"{name}_norm.gamma")
            y = heads.reshape(y.shape)
        return np.asarray(y * live[..., None])

    def _rotated(self, v: Value, x: Array, rows: int) -> Array:
        """Rows `[c, e, n, ·]`, the last n of all, turned by their positions."""
        if v.attrs["rope"] is None:
            return x
        dim = v.attrs["head_dim"]
        cos, sin = (table[rows - x.shape[2] :, None] for table in _tables(_key(v.attrs["rope"]), rows, dim))
        heads = x.reshape(*x.shape[:-1], -1, dim)
        swapped = np.roll(heads, dim // 2, axis=-1)
        return np.asarray((heads * cos + swapped * sin).astype(x.dtype).reshape(x.shape))

    def _grouped(self, x: Array, groups: int, dim: int) -> Array:
        """`[c, e, R, G·g·D]` to `[c, e, G, g, R, D]`."""
        return np.moveaxis(x.reshape(*x.shape[:3], groups, -1, dim), 2, 4)

    def _feed_forward(self, v: Value, site: str, y: Array, live: Array) -> Array:
        x = self._stream_norm(v, y, f"{site}.ffn_norm", live)
        x *= self._weight(v, "ffn_norm.gamma")
        x += self._weight(v, "ffn_norm.beta")
        act = OF_DECODERS[v.attrs["act"]].exact
        inner = self._linear(v, "ffn_gate" if v.attrs["gated"] else "ffn_in", x)
        self._see(f"{site}.activation", inner, live)
        inner = act(inner)
        if v.attrs["gated"]:
            up = self._linear(v, "ffn_in", x)
            self._see(f"{site}.up", up, live)
            inner = inner * up
            self._see(f"{site}.product", inner, live)
        return self._linear(v, "ffn_out", inner)

    def _stream_norm(self, v: Value, x: Array, site: str, live: Array | None) -> Array:
        """The norm of rows of the residual stream, without its affine part."""
        if v.attrs["norm"] == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        square = np.square(x).mean(axis=-1, keepdims=True)
        self._see(f"{site}_var", square, live)
        return np.asarray(x / np.sqrt(square + v.attrs["eps"]))


def _extended(mask: Array, rows: int) -> Array:
    """A mask for so many rows or more: those of steps are all there."""
    more = max(0, rows - mask.shape[2])
    return np.concatenate([mask, np.ones_like(mask[:, :, :1]).repeat(more, axis=2)], axis=2) if more else mask


def first_slot(mask: Array) -> Array:
    """One-hot `[…, R]`: the slot before the first row that the mask keeps; rows are padded on the left."""
    following = np.concatenate([mask[..., 1:], np.ones_like(mask[..., :1])], axis=-1)
    return following - mask


def first_rows(mask: Array, n: int) -> Array:
    """One-hot columns `[…, R, n]`: the first n rows that the mask keeps."""
    slot = first_slot(mask)
    return np.stack([np.roll(slot, 1 + j, axis=-1) for j in range(n)], axis=-1)


def stacked(parts: tuple[Array, ...]) -> Array:
    """Rows of all parts behind each other, batches broadcast."""
    return parts[0] if len(parts) == 1 else np.concatenate(_same_batch(*parts), axis=2)


def _same_batch(*parts: Array) -> list[Array]:
    batch = np.broadcast_shapes(*(part.shape[:2] for part in parts))
    return [np.broadcast_to(part, batch + part.shape[2:]) for part in parts]


def _key(rope: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(rope.items())


@cache
def _tables(rope: tuple[tuple[str, Any], ...], rows: int, dim: int) -> tuple[Array, Array]:
    return Rope(**dict(rope)).tables(rows, dim)
