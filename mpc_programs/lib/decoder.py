"""Pre-norm decoder layers (GPT-2; LLaMA and its kin): y = x + W_o attention(norm x), then y + ffn(norm y).

Rows see none behind them. Of every example there is a first part, the text padded on the left, and a part behind it,
whose rows are all there: the text's keys and values are made once per example, and read by the part behind it under
every candidate. In the slot before the text stand the key and value of the public first token, which are weights.

The model owner has folded the norms' affine parts into the matrices behind them, and 1/√D into the queries.
"""

from Compiler.library import break_point, for_range, if_
from Compiler.types import regint, sfix, sint

from lib import feed_forward, rotary, softmax
from lib.linear import before_truncation, dense
from lib.normalization import stream_norm, stream_numbers
from lib.tensor import (
    across_columns,
    across_rows,
    gather,
    numbers_in,
    plus,
    public,
    raw_product,
    rescale,
    scratch,
    store,
)


def rows(x, mask, weights, *, layers, **attrs):
    """All rows behind some layers, one after the other in a run-time loop.

    Shapes: x `[B, R, h]`, mask `[B, R']` of the whole sequence, which x begins; weights: by role one tensor
    `[n, *shape]`, of which lo <= i < hi are taken, `layers` = (lo, hi) -> `[B, R, h]`. Scale: f.
    Interval: that of `stream_norm`, `softmax.average` and the feed-forward network; |x| < 2^(k-f-1).
    Error: 3e-3 of the rows' size a layer, against float64 on a toy.
    Rounds: 255 a layer; 310 without masked openings. Opens: as `softmax.weights` and the activation.
    """
    return _first_part(x, mask, weights, layers, layers[1] - layers[0], False, attrs)[0]


def rows_and_keys(x, mask, weights, *, layers, whole, **attrs):
    """As `rows`, and the keys and values of every layer, for the part behind. Of the layers behind the first `whole`
    there are keys and values only.

    Shapes: as `rows` -> `[B, R, h]`, and `[hi-lo, B, R·G·(2D+1)]`. Scale: f.
    Interval: as `rows`.
    Error: as `rows`.
    Rounds: as `rows`. Opens: as `rows`.
    """
    return _first_part(x, mask, weights, layers, whole, True, attrs)


def rows_behind(x, keys, tiles, weights, *, layers, kept, first, **attrs):
    """Rows of the part behind the text, behind some layers.

    Shapes: x `[B, R, h]`, keys `[·, ·, tile, ·]` of all tiles, whose layers begin with number `kept`, `tiles` those of
    x; weights as `rows`; `first`: number of the first row's slot -> `[B, R, h]`. Scale: f.
    Interval: as `rows`.
    Error: as `rows`.
    Rounds: as `rows`. Opens: as `rows`.
    """
    stack = _Stack(weights, layers, first, x.shape[1], **attrs)
    hidden = store(x.get_vector(), *x.shape)

    @for_range(*layers)
    def _(i):
        layer = stack.layer(i)
        hat = layer.input_norm(hidden)
        own = layer.keys(hat)
        hidden.assign_vector(layer.output(hidden, hat, joined(keys, tiles, i - kept, own)).get_vector())
        break_point()

    return hidden


def last_row(x, mask, weights, *, layers, **attrs):
    """The last row behind a layer, of a sequence in one part.

    Shapes: as `rows`, with one layer -> `[B, 1, h]`. Scale: f.
    Interval: as `rows`.
    Error: as `rows`.
    Rounds: as `rows`. Opens: as `rows`.
    """
    layer = _Stack(weights, layers, 0, x.shape[1], **attrs).layer(layers[0])
    marks = _Marks(mask, x.shape[1])
    hat = layer.input_norm(x, marks)
    return layer.output(_last(x), _last(hat), layer.keys(hat, marks))


def last_row_behind(x, keys, tiles, weights, *, layers, kept, first, **attrs):
    """The last row behind a layer, of a part behind the text.

    Shapes: as `rows_behind`, with one layer -> `[B, 1, h]`. Scale: f.
    Interval: as `rows`.
    Error: as `rows`.
    Rounds: as `rows`. Opens: as `rows`.
    """
    layer = _Stack(weights, layers, first, x.shape[1], **attrs).layer(layers[0])
    hat = layer.input_norm(x)
    return layer.output(_last(x), _last(hat), joined(keys, tiles, layers[0] - kept, layer.keys(hat)))


def final_norm(x, *mask, norm, eps, exponent):
    """The norm of rows of the residual stream, without its affine part; 0 where a mask is.

    Shapes: `[B, h]`, or `[B, R, h]` and a mask `[B, R]` -> the same. Scale: f.
    Interval: as `stream_norm`.
    Error: as `stream_norm`.
    Rounds: as `stream_norm`. Opens: nothing.
    """
    (numbers,), top = stream_numbers([exponent], eps)
    return stream_norm(x, numbers, top, norm=norm, kept=mask[0].get_vector() if mask else None)


def joined(keys, tiles, layer, own):
    """Keys and counted values of the text and of the part behind it.

    Shapes: keys `[·, ·, tile, T·G·(2D+1)]` of all tiles, `tiles` that are wanted; own: those of the part behind,
    `[B, R, G·D]` and `[B·R·G, D+1]` -> `[B, T+R, G·D]` and `[B·(T+R)·G, D+1]`. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    key, values = own
    batch, rows, width = key.shape
    tile, size = keys.shape[2:]
    lengths = rows * width, values.total_size() // batch
    per_row = sum(lengths) // rows
    text = size // per_row
    first = text * width
    parts = [], []
    for example in range(batch):
        kept = keys[tiles[example // tile]][layer][example % tile]
        parts[0].extend([kept.get_vector(0, first), key[example].get_vector()])
        parts[1].extend([kept.get_vector(first, size - first), values.get_vector(example * lengths[1], lengths[1])])
    return (
        store(sfix.concat(parts[0]), batch, text + rows, width),
        store(sfix.concat(parts[1]), values.shape[0] // rows * (text + rows), values.shape[1]),
    )


def _first_part(x, mask, weights, layers, whole, keep, attrs):
    """Rows behind the first `whole` of the layers, and keys and values of all, or None."""
    batch, rows, _ = x.shape
    lo, hi = layers
    stack = _Stack(weights, layers, 0, rows, **attrs)
    marks = _Marks(mask, rows)
    hidden = store(x.get_vector(), *x.shape)
    kept = scratch((hi - lo, batch, rows * stack.kept_per_row)) if keep else None

    @for_range(lo, hi)
    def _(i):
        layer = stack.layer(i)
        hat = layer.input_norm(hidden, marks)
        own = layer.keys(hat, marks)
        if keep:
            each = [part.total_size() // batch for part in own]
            flat = [part.get_vector(b * n, n) for b in range(batch) for part, n in zip(own, each, strict=True)]
            kept[i - lo].assign_vector(sfix.concat(flat))
            break_point()

        def onward():
            hidden.assign_vector(layer.output(hidden, hat, own).get_vector())
            break_point()

        if whole == hi - lo:
            onward()
        elif whole:
            if_(i < lo + whole)(onward)

    return hidden, kept


class _Marks:
    """Which rows of a first part are there, as vectors of zeros and ones, each at f."""

    def __init__(self, mask, rows):
        batch, total = mask.shape
        following = min(rows, total - 1)
        parts = []
        for example in range(batch):
            row = mask[example]
            parts += [row.get_vector(1, following)] + [row.get_vector(total - 1, 1)] * (rows - following)
        kept = sfix.concat([mask[example].get_vector(0, rows) for example in range(batch)])
        self.kept = store(kept, batch * rows, 1)
        self.sink = store(
            sfix.concat(parts) - kept, batch * rows, 1
        )  # 1 in the slot before the first row that is there
        self.attended = store(sfix.concat(parts), batch * rows, 1)


class _Stack:
    """Layers: their weights, and what is public of each, in memory, for run-time loops."""

    def __init__(
        self, weights, layers, first, rows, *, heads, kv_heads, exponents, eps, norm, act, gated, rope, reach=None,
        weighing,
    ):  # fmt: skip
        self.weights, self.heads, self.groups, self.norm, self.act = weights, heads, kv_heads, norm, act
        self.feed_forward = feed_forward.gated if gated else feed_forward.plain
        self.reaches = sorted(set(reach or ()))  # one or two
        self.far = public([[int(each == max(reach))] for each in reach]) if len(self.reaches) > 1 else None
        self.size = weights["k.weight"].shape[-1] // kv_heads
        self.kept_per_row = kv_heads * (2 * self.size + 1)
        self.turned = rotary.tables(rope, first, rows) if rope else None
        self.lo = layers[0]
        self.exponents = {}
        for name, each in exponents.items():
            numbers, top = stream_numbers(each, eps)
            self.exponents[name] = public(numbers), top
        self.series = public([softmax.numbers(**each) for each in weighing]) if isinstance(weighing, list) else None
        self.weighing = weighing

    def layer(self, number):
        """The one of this number, which may be known at run time only."""
        return _Layer(self, number)


class _Layer:
    def __init__(self, stack, number):
        self.stack, self.number = stack, number
        self.w = {role: each[number] for role, each in stack.weights.items()}

    def input_norm(self, x, marks=None):
        """Normalised rows, 0 where none is."""
        return self._normed("input", x, marks and marks.kept.get_vector())

    def keys(self, x, marks=None):
        """Turned keys `[B, R, G·D]` and values `[B·R·G, D+1]`, with a count behind each, of normalised rows."""
        s, (batch, rows, _) = self.stack, x.shape
        width = s.groups * s.size
        key = rotary.rotated(self._heads("k", x, s.groups, marks), s.turned, s.groups)
        value = rescale(self._product("v", x, marks) + self._first_token("value", marks), 2 * sfix.f)
        counted = scratch((batch * rows * s.groups, s.size + 1))
        places = regint.inc(value.size, 0, s.size + 1, s.size) + regint.inc(value.size, 0, 1, 1, s.size)
        value.store_in_mem(counted.address + places)
        n = batch * rows * s.groups
        count = across_columns(marks.attended.get_vector(), s.groups) if marks else sfix(1, size=n)
        count.store_in_mem(counted.address + regint.inc(n, s.size, s.size + 1))
        break_point()
        return store(rescale(key, rotary.scale_of(s.turned)), batch, rows, width), counted

    def output(self, x, hat, keys):
        """Rows x `[B, R, h]` behind the layer, the last of those that keys and values are of; x̂ is `hat`."""
        s, (batch, rows, _) = self.stack, x.shape
        turned = s.turned and tuple(store(_tail(t, rows), rows, s.size) for t in s.turned)
        query = rotary.rotated(self._heads("q", hat, s.heads), turned, s.heads)
        query = store(rescale(query, rotary.scale_of(s.turned)), batch, rows, s.heads * s.size)
        centre = before_truncation(hat, sfix.f, self.w["log_sum.weight"], self.w["log_sum.bias"])
        series = {"series": self._public(s.series)} if s.series else s.weighing
        found = softmax.average(query, *keys, centre, heads=s.heads, groups=s.groups, causal=True, **series)
        y = plus(x, dense(found, self.w["o.weight"], self.w["o.bias"]))
        return plus(y, s.feed_forward(self._normed("ffn", y), self.w, s.act, **self._limits()))

    def _limits(self):
        """How far the activation's inputs reach."""
        s = self.stack
        if s.far:
            return {"reach": (*s.reaches, regint(s.far[self.number - s.lo][0]))}
        return {"reach": s.reaches[0]} if s.reaches else {}

    def _heads(self, name, x, heads, marks=None):
        """Raw q or k, normalised by head where the model does that, with the first token's key in its slot."""
        s, raw = self.stack, self._product(name, x, marks)
        if f"{name}_norm.gamma" in self.w:
            n = raw.size // s.size
            unit = self._normed(name, store(rescale(raw, 2 * sfix.f), n, s.size), norm="rms")
            raw = raw_product(unit.get_vector(), across_rows(self.w[f"{name}_norm.gamma"], n))
        return raw + self._first_token("key", marks) if name == "k" else raw

    def _product(self, name, x, marks):
        """Raw W x̂ + b, without b where no row is."""
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        if marks is None:
            return before_truncation(x, sfix.f, weight, bias)
        n, inner, width = x.total_size() // x.shape[-1], x.shape[-1], weight.shape[-1]
        return sint.direct_matrix_mul(x.address, weight.address, n, inner, width) + _outer(marks.kept, bias)

    def _first_token(self, part, marks):
        return _outer(marks.sink, self.w[f"sink.{part}"]) if marks else 0

    def _normed(self, name, x, kept=None, norm=None):
        table, top = self.stack.exponents[name]
        return stream_norm(x, self._public(table), top, norm=norm or self.stack.norm, kept=kept)

    def _public(self, table):
        return numbers_in(table[self.number - self.stack.lo])


def _outer(column, row):
    """Raw products of each with each."""
    return sint.direct_matrix_mul(column.address, row.address, column.shape[0], 1, row.shape[0])


def _last(x):
    """The last row of every example, `[B, 1, h]`."""
    batch, rows, width = x.shape
    n = batch * width
    places = regint.inc(n, (rows - 1) * width, rows * width, width) + regint.inc(n, 0, 1, 1, width)
    return store(gather(x, places), batch, 1, width)


def _tail(table, rows):
    """The last rows."""
    total = table.shape[0]
    return table.get_part_vector(total - rows, rows) if rows < total else table.get_vector()
