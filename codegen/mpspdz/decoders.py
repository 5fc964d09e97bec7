"""Decoder layers as calls of `lib/decoder.py`: one per run of layers of a part of the rows.

In the plan, layers of the text and of what stands behind it alternate. Here the text's come first, in one call that
also makes the keys and values which the part behind reads, when examples arrive; then those of the part behind.
"""

from __future__ import annotations

from math import log2, pi
from typing import Any

from ...mpc_programs.lib.wire import TURN_BITS
from ..commandline.problems import Problem, ProblemsFound
from ..model.decoders.rope import Rope
from ..plan.graph import Value
from ..series.activations import OF_DECODERS
from ..series.ranges import HALF_WIDTH, VARIANCE
from .program import Ref
from .translator import Translator

SPREAD = 2.0**20
"""Of mean squares at one place, largest to smallest: `normalization.stream_norm` takes as many, with some room."""
SAME = ("heads", "kv_heads", "act", "gated", "norm", "eps")
"""Attributes that kernels take as they are."""


class DecoderCalls(Translator):
    """One method per kind of operation."""

    def _layers(self) -> list[Value]:
        """One value for each layer, which has the weights."""
        return list({v.attrs["layer"]: v for v in self.plan if v.kind == "decoder_layer"}.values())

    def _decoder_layer(self, v: Value) -> None:
        """A layer and those above it of the same part of the rows."""
        reads, mask, *parts = v.inputs
        if reads != parts[-1]:
            self._last_row(v, parts)
            return
        run = [v]
        while (above := self._above(run[-1])) is not None:
            run.append(above)
        rows = self.refs[reads]
        if len(parts) == 1:
            last = self._first_part(run, rows, self.refs[mask])
        else:
            kept = self._keys(v)
            last = run[-1]
            self.result(last, "behind", "decoder.rows_behind", rows, *kept, self._stack(), **self._behind(run))
        for each in run[:-1]:
            self.refs[each.id] = self.refs[last.id]

    def _above(self, v: Value) -> Value | None:
        """The next layer of all rows of the same part."""
        part = len(v.inputs) - 2
        for w in self.plan.values[v.id + 1 :]:
            if w.kind == "decoder_layer" and w.inputs[0] == v.id == w.inputs[-1] and len(w.inputs) - 2 == part:
                return w
        return None

    def _first_part(self, run: list[Value], rows: Ref, mask: Ref) -> Value:
        """Layers of text, or of whole sequences; with keys where a part behind reads them."""
        readers = [w for w in self.plan if w.kind == "decoder_layer" and len(w.inputs) > 3]
        inputs = {v.inputs[0] for v in run} | {run[-1].id}
        read = [w for w in readers if w.inputs[2] in inputs]
        if not read:
            keywords = self._keywords([v.attrs["layer"] for v in run])
            self.result(run[-1], "rows", "decoder.rows", rows, mask, self._stack(), **keywords)
            return run[-1]
        self._with_keys(run[-1], len(run), sorted({w.attrs["layer"] for w in read}), rows, mask)
        return run[-1]

    def _with_keys(self, v: Value, whole: int, layers: list[int], rows: Ref, mask: Ref) -> None:
        """A call of `rows_and_keys`, whose rows are the value `v`; `layers`: those that have keys."""
        keys = f"keys_{v.number}"
        a = self._layers()[0].attrs
        self.shapes[keys] = (len(layers), self.options.tile, v.shape[0] * a["kv_heads"] * (2 * a["head_dim"] + 1))
        self.program.by_layer.add(keys)
        self.kept = Ref(keys), layers[0]
        keywords = {"whole": whole, **self._keywords(layers)}
        self.result(v, "rows", "decoder.rows_and_keys", rows, mask, self._stack(), more=(keys,), **keywords)

    def _keys(self, v: Value) -> tuple[Ref, Ref]:
        """Keys and values of the text for a layer behind it, and the tiles that are evaluated."""
        if self.kept is None:  # no layer computes the text's rows: the prompt enters the last one
            text = self.plan[v.inputs[2]]
            rows = self.refs[text.id]
            self._with_keys(text, 0, [v.attrs["layer"]], rows, self.refs[v.inputs[1]])
            self.refs[text.id] = rows
        assert self.kept is not None
        return self.kept[0], Ref("tiles")

    def _last_row(self, v: Value, parts: list[int]) -> None:
        """A layer of the last row alone."""
        rows = self.refs[parts[-1]]
        if len(parts) == 1:
            mask = self.refs[v.inputs[1]]
            keywords = self._keywords([v.attrs["layer"]])
            self.result(v, "last", "decoder.last_row", rows, mask, self._stack(), **keywords)
        else:
            kept = self._keys(v)
            self.result(v, "last", "decoder.last_row_behind", rows, *kept, self._stack(), **self._behind([v]))

    def _behind(self, run: list[Value]) -> dict[str, Any]:
        """Keywords of layers of the part behind the text."""
        assert self.kept is not None
        first = self.plan[run[0].inputs[2]].shape[0]
        return {
            "kept": self.kept[1] - self._lowest(),
            "first": first,
            **self._keywords([v.attrs["layer"] for v in run]),
        }

    kept: tuple[Ref, int] | None = None
    """The text's keys and values, and the lowest layer that has them."""

    def _stack(self) -> Ref:
        """The weights of all layers: their order does not depend on what calibration saw."""
        name = f"layers_{self._lowest()}"
        if name not in self.program.stacks:
            self.stack(self._layers())
        return Ref(name)

    def _lowest(self) -> int:
        return int(self._layers()[0].attrs["layer"])

    def _keywords(self, layers: list[int]) -> dict[str, Any]:
        """What a call for these layers, one above the other, says of them."""
        values = {v.attrs["layer"]: v for v in self._layers()}
        a = values[layers[0]].attrs
        keywords: dict[str, Any] = {"layers": (layers[0] - self._lowest(), layers[-1] + 1 - self._lowest())}
        keywords |= {name: a[name] for name in SAME}
        keywords["rope"] = speeds(Rope(**a["rope"]), a["head_dim"]) if a["rope"] else None
        sites = {"input": "input_norm", "ffn": "ffn_norm"} | ({"q": "q_norm", "k": "k_norm"} if a["qk_norm"] else {})
        keywords["exponents"] = {
            name: [self._exponent(f"layers.{i}.{site}_var") for i in layers] for name, site in sites.items()
        }
        if OF_DECODERS[a["act"]].smooth:
            widths = [self.ranges.half_width(f"layers.{i}.activation", HALF_WIDTH) for i in layers]
            keywords["reach"] = two_widths(widths) if self.attention.by_series else [max(widths)] * len(layers)
        keywords["weighing"] = self.attention.weighing([values[i] for i in layers])
        return keywords

    def _exponent(self, site: str) -> int:
        """e such that mean squares there lie around 4^e."""
        low, high = self.ranges.interval(site, VARIANCE)
        if high > SPREAD * low or high >= 2.0 ** (2 * (self.options.value_bits - self.options.fraction_bits) - 10):
            place = site.removesuffix("_var").replace("layers.", "layer ").replace(".", ", ")
            raise ProblemsFound([Problem(
                "error", f"{place}: mean squares of rows lie from {low:.3g} to {high:.3g}",
                "MP-SPDZ's fixed point does not serve that: give --target embedded.",
            )])  # fmt: skip
        return round(log2(low * high) / 4)

    # rows, prompt, final norm

    def _slice_rows(self, v: Value) -> None:
        readers = [w for w in self.plan if v.id in w.inputs]
        if all(w.kind == "decoder_layer" and w.inputs[0] == v.id != w.inputs[-1] for w in readers):
            return  # the last row, which its kernel takes by itself
        self.call(v, "prompt.slice_rows", lo=v.attrs["lo"], hi=v.attrs["hi"])

    def _join_rows(self, v: Value) -> None:
        self.call(v, "prompt.join_rows")

    def _offset(self, v: Value) -> None:
        self.refs[v.id] = self.candidate_rows(v)

    def _add_offset(self, v: Value) -> None:
        self.call(v, "prompt.add_offset", at=v.attrs["at"])

    def _add_first(self, v: Value) -> None:
        self.call(v, "prompt.add_first")

    def _final_norm(self, v: Value) -> None:
        exponent = self._exponent("final_norm_var")
        self.call(v, "decoder.final_norm", norm=v.attrs["norm"], eps=v.attrs["eps"], exponent=exponent)


def two_widths(widths: list[float]) -> list[float]:
    """At least these, of at most two values, so that they add up to as little as possible."""
    most = max(widths)
    choices = [[least if width <= least else most for width in widths] for least in sorted(set(widths))]
    return min(choices, key=sum)


def speeds(rope: Rope, dim: int) -> list[int]:
    """Turns per slot of each pair of a head's columns, at 2^64 a turn."""
    return [round(omega / (2 * pi) * 2**TURN_BITS) for omega in rope.frequencies(dim)]
