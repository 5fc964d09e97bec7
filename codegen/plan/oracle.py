"""The model plan in numpy: the `clear` engine, the reference of every test, and the instrument of calibration.

Values are arrays `[c, e, *shape]` with c ∈ {1, candidates}, e ∈ {1, examples}. Attention is exact softmax or
random-feature attention (Peng et al. 2021, eq. 5) as the operation says; reciprocals are 1/max(x, floor).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..series.activations import ACTIVATIONS, DENSE
from ..series.elementary import log_sum_exp
from .decoding import DecoderOperations
from .execution import LEAST_SUM, Added, Array, Observer, squared_relu
from .graph import LAYERS, Plan, Stage, Value
from .projection import public_matrix

LEAST_NORM2 = 1e-30
"""Of a row that is scaled to unit length: a padding row of a model without biases is zero."""


def run_plan(
    plan: Plan,
    weights: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, NDArray[Any]],
    *,
    observe: Observer | None = None,
    added: Added | None = None,
    dtype: type[np.floating[Any]] = np.float64,
    tile_bytes: int = 1 << 26,
) -> dict[str, Array]:
    """Evaluate a plan's outputs.

    `inputs` holds an array `[E, *shape]` for every example input and `[C, *shape]` for every candidate input.
    What is kept is an input too: `[*shape]` by name, zeros where it is not there.
    Returns candidate outputs as `[C, *shape]`, all others as `[c, E, *shape]`; a shape of `(1,)` is dropped: `loss` is
    `[C]`, `logits` `[C, E, L]`. `observe(site, values)` sees values of live rows only (those the mask keeps).
    `added(name, rows)` is what somebody else's part adds to rows times the matrix of that name.
    Work goes in tiles of candidates × examples of about `tile_bytes`; the result does not depend on it beyond rounding.
    A plan that generates (`generation.py`) takes one step: `rows` `[E, n, h]` are those behind each example.
    """
    if any(v.kind == "recall" for v in plan):
        return _run_step(plan, weights, inputs, observe, dtype, tile_bytes)
    examples = OnExamples(plan, weights, inputs, observe=observe, added=added, dtype=dtype, tile_bytes=tile_bytes)
    return examples.run(inputs)


class OnExamples:
    """A plan on one set of examples, for candidates one step after the other."""

    def __init__(
        self, plan: Plan, weights: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]], *,
        observe: Observer | None = None, added: Added | None = None, dtype: type[np.floating[Any]] = np.float64,
        tile_bytes: int = 1 << 26, kept_bytes: int = 0,
    ) -> None:  # fmt: skip
        """`inputs`: examples, `[E, *shape]`; the rest as in `run_plan`. What no candidate changes is computed once, of
        as many of them as fit into `kept_bytes`; of the others in every step."""
        self._plan, self._inputs, self._dtype = plan, inputs, dtype
        self._pairs = max(1, tile_bytes // _bytes_per_pair(plan, np.dtype(dtype).itemsize))
        names = {name for value in plan for name in value.weights.values() if name in weights or not _estimates(name)}
        self._executor = _Executor({name: np.asarray(weights[name], dtype) for name in names}, observe, added)
        later = [i for v in plan if not _within(v.stage, Stage.EXAMPLE) for i in v.inputs]
        self._read = {*later, *(output.value for output in plan.outputs)}
        self._kept: dict[int, dict[int, Array]] = {}
        self._room = kept_bytes

    def run(self, candidates: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
        """A step's outputs, as `run_plan` has them; `candidates`: `[C, *shape]`, and what is kept, `[*shape]`."""
        self._executor.kept = {name: np.asarray(x, self._dtype) for name, x in candidates.items()}
        plan, examples = self._plan, self._count(self._inputs, "example")
        count = self._count(candidates, "candidate")
        e_step = min(examples, self._pairs)
        c_step = max(1, self._pairs // e_step)
        results: dict[str, list[list[Array]]] = {output.name: [] for output in plan.outputs}
        for e in range(0, examples, e_step):
            early = self._early(e, e_step)
            for tiles in results.values():
                tiles.append([])
            for c in range(0, count, c_step):
                given = _slices(plan, candidates, "candidate", c, c_step, self._dtype)
                values = self._executor.evaluate(plan, Stage.PAIR, early, given)
                for output in plan.outputs:
                    results[output.name][-1].append(values[output.value])
        return {output.name: _join(plan[output.value], results[output.name]) for output in plan.outputs}

    def _early(self, first: int, step: int) -> dict[int, Array]:
        """What the examples of a tile have for all candidates."""
        if first in self._kept:
            return self._kept[first]
        given = _slices(self._plan, self._inputs, "example", first, step, self._dtype)
        values = self._executor.evaluate(self._plan, Stage.EXAMPLE, {}, given)
        early = {i: value for i, value in values.items() if i in self._read and self._plan[i].kind != "kept"}
        size = sum(value.nbytes for value in early.values())
        if size <= self._room:
            self._room -= size
            self._kept[first] = early
        return early

    def _count(self, inputs: Mapping[str, NDArray[Any]], kind: str) -> int:
        given = self._plan.inputs(kind)
        return len(inputs[given[0].attrs["name"]]) if given else 1


def _within(stage: Stage, limit: Stage) -> bool:
    return (stage | limit) == limit


def _run_step(
    plan: Plan, weights: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]], observe: Observer | None,
    dtype: type[np.floating[Any]], tile_bytes: int,
) -> dict[str, Array]:  # fmt: skip
    found: dict[str, list[Array]] = {"first": [], "next": []}
    step = max(1, tile_bytes // _bytes_per_text(plan, inputs["rows"].shape[1], np.dtype(dtype).itemsize))
    for e in range(0, len(inputs["rows"]), step):
        part = {name: values[e : e + step] for name, values in inputs.items()}
        session = Session(plan, weights, part, dtype, observe)
        found["first"].append(session.example("first"))
        found["next"].append(session.step("next", part["rows"], 0))
    return {name: np.concatenate(parts) for name, parts in found.items()}


class Session:
    """A plan whose steps recall rows, on one set of examples: one step after the other, of any number of rows."""

    def __init__(
        self, plan: Plan, weights: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]],
        dtype: type[np.floating[Any]] = np.float64, observe: Observer | None = None, added: Added | None = None,
    ) -> None:  # fmt: skip
        """`inputs`: examples, `[E, *shape]`; the rest as in `run_plan`."""
        self._plan, self._dtype = plan, dtype
        names = {name for value in plan for name in value.weights.values() if name in weights or not _estimates(name)}
        self._executor = _Executor({name: np.asarray(weights[name], dtype) for name in names}, observe, added)
        count = len(inputs[plan.inputs("example")[0].attrs["name"]])
        given = _slices(plan, inputs, "example", 0, count, dtype)
        self._early = self._executor.evaluate(plan, Stage.EXAMPLE, {}, given)

    def example(self, output: str) -> Array:
        """An output of the example stage, `[E, *shape]`."""
        found: Array = self._early[self._plan.opened(output)][0]
        return found

    def step(self, output: str, rows: NDArray[Any], at: int) -> Array:
        """An output of a step, `[E, n, …]`, given its rows `[E, n, h]`, or `[1, n, h]` for all; they are remembered
        from row `at` on."""
        (v,) = self._plan.inputs("candidate")
        self._executor.at = at
        values = self._executor.evaluate(
            self._plan, Stage.PAIR, self._early, {v.id: np.asarray(rows[None], self._dtype)}
        )
        found: Array = values[self._plan.opened(output)][0]
        return found


def _estimates(name: str) -> bool:
    """Whether a weight only estimates what this module computes exactly: a row's log-sum-exp."""
    return ".log_sum." in name


def _bytes_per_pair(plan: Plan, itemsize: int) -> int:
    layers = [v for v in plan if v.kind in LAYERS]
    widths = [
        plan[v.inputs[0]].shape[0]
        * (3 * v.attrs["intermediate"] + 6 * v.shape[-1] + 4 * v.attrs["heads"] * v.attrs.get("features", 0))
        for v in layers
    ]
    return itemsize * int(max(widths, default=1))


def _bytes_per_text(plan: Plan, rows: int, itemsize: int) -> int:
    """What a layer holds of one text and so many rows behind it."""
    v = next(v for v in plan if v.kind == "decoder_layer")
    whole = plan[v.inputs[1]].shape[0] + rows
    return itemsize * int(whole) * int(3 * v.attrs["intermediate"] + 6 * v.shape[-1] + 3 * v.attrs["heads"] * whole)


def _slices(
    plan: Plan, inputs: Mapping[str, NDArray[Any]], kind: str, lo: int, step: int, dtype: type[np.floating[Any]]
) -> dict[int, Array]:
    axis = 1 if kind == "candidate" else 0
    return {
        v.id: np.expand_dims(np.asarray(inputs[v.attrs["name"]][lo : lo + step], dtype), axis)
        for v in plan.inputs(kind)
    }


def _join(value: Value, tiles: list[list[Array]]) -> Array:
    """Tiles `[example tile][candidate tile]` to one array; sums over examples add up over tiles."""
    per_candidate = [np.concatenate(row, axis=0) if value.stage & Stage.CANDIDATE else row[0] for row in tiles]
    if value.kind in ("mean_examples", "class_means"):
        result = np.sum(per_candidate, axis=0)
    elif value.stage & Stage.EXAMPLE:
        result = np.concatenate(per_candidate, axis=1)
    else:
        result = per_candidate[0]
    if not value.stage & Stage.EXAMPLE:
        result = result[:, 0]
    joined: Array = result[..., 0] if value.shape == (1,) else result
    return joined


class _Executor(DecoderOperations):
    """Evaluates operations on `[c, e, *shape]` arrays; one method a kind of operation."""

    def evaluate(self, plan: Plan, stage: Stage, early: dict[int, Array], given: dict[int, Array]) -> dict[int, Array]:
        """All values whose stage is within `stage`, but those that `given` holds, and behind `early` those of
        examples: what is read of them is there."""
        values = early | given
        for v in plan:
            done = early and _within(v.stage, Stage.EXAMPLE) and v.kind != "kept"
            if v.id in values or done or not _within(v.stage, stage):
                continue
            values[v.id] = getattr(self, f"_{v.kind}")(v, *(values[i] for i in v.inputs))
        return values

    def _prompt(self, v: Value, z: Array) -> Array:
        n, hidden = v.shape
        p0 = self._weight(v, "p0")
        first, dim = v.attrs["first"], v.attrs["intrinsic_dim"]
        a = public_matrix(v.attrs["seed"], v.attrs["bits"], (dim, n * hidden))
        offset = z[..., first : first + dim] @ np.ldexp(a.astype(z.dtype), -v.attrs["scale_bits"])
        return np.asarray(p0 + offset.reshape(*z.shape[:2], n, hidden))

    def _token_rows(self, v: Value, x: Array) -> Array:
        return np.delete(x, _prompt_rows(v), axis=2)

    _token_mask = _token_rows

    def _insert(self, v: Value, x: Array, p: Array) -> Array:
        return _insert_rows(x, p, _prompt_rows(v).start)

    def _insert_mask(self, v: Value, mask: Array) -> Array:
        rows = np.full((1, 1, v.attrs["n"]), v.attrs["value"], mask.dtype)
        return _insert_rows(mask, rows, _prompt_rows(v).start)

    def _affine(self, v: Value, x: Array) -> Array:
        return x * self._weight(v, "gamma") + self._weight(v, "beta")

    def _encoder_layer(
        self, v: Value, x: Array, mask: Array, reads: Array | None = None, mean: Array | None = None
    ) -> Array:
        """Of the rows `reads`, or of all; `mean`: weights of the mean of them that is wanted."""
        site = f"layers.{v.attrs['layer']}"
        live: Array | None = mask
        if reads is None:
            reads = x
        else:
            live, reads = None, reads.reshape(*reads.shape[:2], -1, x.shape[-1])
        if "input_norm.gamma" in v.weights:
            gamma, beta = (self._weight(v, f"input_norm.{role}") for role in ("gamma", "beta"))
            x, reads = x * gamma + beta, reads * gamma + beta
        self._see(f"{site}.hidden", x, mask)
        attend = self._softmax_attention
        if v.attrs["attention"] == "rfa":
            attend = self._squared_relu_attention if v.attrs["variant"] == "relu2" else self._rfa_attention
        y = attend(v, site, x, mask, reads, live)
        self._see(f"{site}.attention_out", y, live)
        y = self._linear(v, "o", y)
        y += reads
        y = self._normalise(y, v.attrs["attention_eps"], f"{site}.attention", live)
        y *= self._weight(v, "attention_norm.gamma")
        y += self._weight(v, "attention_norm.beta")
        inner = self._linear(v, "ffn_in", y)
        self._see(f"{site}.activation", inner, live)
        z = self._linear(v, "ffn_out", ACTIVATIONS[v.attrs["act"]].exact(inner))
        z += y
        z = self._normalise(z, v.attrs["output_eps"], f"{site}.output", live)
        if v.attrs.get("padding") == "zero":
            z *= mask[:, :, : z.shape[2], None]
        return z if mean is None else self._mean_rows(v, z, mean)

    def _softmax_attention(self, v: Value, site: str, x: Array, mask: Array, reads: Array, live: Array | None) -> Array:
        q = self._linear(v, "q", reads)
        k, value = (self._linear(v, name, x) for name in ("k", "v"))
        self._see(f"{site}.value", value, mask)
        q *= v.attrs["head_dim"] ** -0.5
        scores = self._heads(v, q) @ self._heads(v, k).swapaxes(-1, -2)
        scores = np.where(mask[:, :, None, None] > 0, scores, -np.inf)
        log_sum = log_sum_exp(scores)
        if self._observe is not None:
            self._see_scores(v, site, reads, live, scores, log_sum)
        np.exp(scores - log_sum, out=scores)
        return self._joined(scores @ self._heads(v, value))

    def _rfa_attention(self, v: Value, site: str, x: Array, mask: Array, reads: Array, live: Array | None) -> Array:
        value = self._linear(v, "v", x)
        self._see(f"{site}.value", value, mask)
        key = _features(self._phases(v, site, "k", x, mask)) * mask[:, :, None, :, None]
        query = _features(self._phases(v, site, "q", reads, live))
        # Output = φ(q)ᵀS / φ(q)ᵀn with S = Σ φ(k)vᵀ and n = Σ φ(k), both over F·T.
        share = 1 / (v.attrs["features"] * x.shape[-2])
        numerator = query @ (key.swapaxes(-1, -2) @ self._heads(v, value) * share)
        denominator = query @ (key.sum(axis=-2)[..., None] * share)
        for name, part in (("numerator", numerator), ("den", denominator)):
            self._see(f"{site}.{name}", np.moveaxis(part, -3, -2), live)
        return self._joined(numerator / np.maximum(denominator, v.attrs["floor"]))

    def _squared_relu_attention(
        self, v: Value, site: str, x: Array, mask: Array, reads: Array, live: Array | None
    ) -> Array:
        value = self._linear(v, "v", x)
        self._see(f"{site}.value", value, mask)
        parts = []
        for name, rows, kept in (("feature_query", reads, live), ("feature_key", x, mask)):
            u = self._linear(v, name, rows)
            self._see(f"{site}.{name}", u, kept)
            parts.append(squared_relu(self._heads(v, u)))
        query, key = parts
        key *= mask[:, :, None, :, None]
        total = query @ key.sum(axis=-2)[..., None]
        self._see(f"{site}.row_sum", np.moveaxis(total, -3, -2), live)
        return self._joined(query @ (key.swapaxes(-1, -2) @ self._heads(v, value)) / np.maximum(total, LEAST_SUM))

    def _phases(self, v: Value, site: str, which: str, x: Array, live: Array | None) -> Array:
        """Angles in radians `[c, e, H, T, F]`."""
        if v.attrs["variant"] == "folded":
            turns = self._linear(v, {"q": "phase_query", "k": "phase_key"}[which], x)
            return 2 * np.pi * self._heads(v, turns)
        rows = self._linear(v, which, x)
        rows = rows.reshape(*rows.shape[:-1], v.attrs["heads"], v.attrs["head_dim"])
        norm2 = np.square(rows).sum(axis=-1, keepdims=True)
        self._see(f"{site}.{which}_norm2", norm2, live)
        unit = rows / np.sqrt(np.maximum(norm2, LEAST_NORM2))
        phases: Array = np.moveaxis(unit, -2, -3) @ self._weight(v, "features").swapaxes(-1, -2)
        return phases

    def _first_row(self, v: Value, x: Array) -> Array:
        return x[..., 0, :]

    def _select_row(self, v: Value, x: Array, select: Array) -> Array:
        return (select[..., None, :] @ x)[..., 0, :]

    _mean_rows = _select_row

    def _dense(self, v: Value, x: Array) -> Array:
        y = x @ self._weight(v, "weight").T + self._weight(v, "bias")
        self._see(v.weights["weight"].removesuffix(".weight"), y)
        return np.asarray(DENSE[v.attrs["act"]](y))

    def _normalize(self, v: Value, x: Array) -> Array:
        return self._normalise(x.copy(), v.attrs["eps"], "" if v.attrs.get("of") else "head.norm", None)

    def _cosine(self, v: Value, x: Array, prototypes: Array | None = None) -> Array:
        norm2 = np.square(x).sum(axis=-1, keepdims=True)
        self._see("head.norm2", norm2)
        unit = x / np.sqrt(norm2)
        if prototypes is None:
            logits: Array = v.attrs["temperature"] * unit @ self._weight(v, "prototypes").T
        else:
            logits = v.attrs["temperature"] * (prototypes @ unit[..., None])[..., 0]
        self._see("head.logits", logits)
        return logits

    def _kept(self, v: Value) -> Array:
        held: Array = self.kept.get(v.attrs["name"], np.zeros(v.shape))[None, None]
        return held

    def _prototypes(self, v: Value, weight: Array, means: Array) -> Array:
        sums = self._weight(v, "prototypes") + weight[..., None] * means
        return np.asarray(sums / np.linalg.norm(sums, axis=-1, keepdims=True))

    def _label_words(self, v: Value, x: Array, row: Array, shots: Array, means: Array) -> Array:
        """docs/program.md, "Shots"; `row`: x as it is before its affine part."""
        weight, centred = shots[..., :1], shots[..., 1:]
        length = row.shape[-1] ** 0.5
        mean = means.mean(axis=-2)
        middle = length * mean * self._weight(v, "gamma") + self._weight(v, "beta")
        words, bias = self._weight(v, "weight").T, self._weight(v, "bias")
        away = ((row / length - centred * mean)[..., None, :] * (means - mean[..., None, :])).sum(axis=-1)
        if self._observe is not None:
            self._see("head.shots", v.attrs["temperature"] * v.attrs["most"] * told_apart(row[0] / length, v.size))
        return np.asarray(x @ words + bias - centred * (middle @ words + bias) + v.attrs["temperature"] * weight * away)

    def _class_means(self, v: Value, x: Array, labels: Array, share: Array, numbers: Array) -> Array:
        unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
        parts = (labels * share)[..., None] * unit[..., None, :]
        return np.asarray(numbers[..., :1, None] * parts.sum(axis=1, keepdims=True))

    def _loss(self, v: Value, logits: Array, labels: Array) -> Array:
        right = (logits * labels).sum(axis=-1, keepdims=True)
        wrong = np.broadcast_to(labels < 0.5, logits.shape)
        self._see("loss.diff", (logits - right)[wrong])
        if v.attrs["loss"] == "ce":
            loss: Array = log_sum_exp(logits) - right
        else:
            loss = (np.maximum(0, v.attrs["margin"] + logits - right) * wrong).sum(axis=-1, keepdims=True)
        clipped: Array = np.minimum(loss, v.attrs.get("clip", np.inf))
        return clipped

    def _mean_examples(self, v: Value, loss: Array, weight: Array) -> Array:
        total: Array = (loss * weight).sum(axis=1, keepdims=True)
        return total

    def _health(self, v: Value, loss: Array, weight: Array) -> Array:
        return np.concatenate([loss, np.zeros_like(loss)], axis=-1)  # no interval, no row outside one


def told_apart(rows: Array, labels: int) -> Array:
    """How far the shots of so many labels might set a text's logits apart, per unit of weight and temperature: the
    largest difference of a row's products with the labels' means, `[E]` of rows `[E, h]` of unit length. A label's
    shots are taken to be the rows that are nearest to one of the first: further from other labels' than real ones."""
    nearest = (rows @ rows[:labels].T).argmax(axis=-1)
    means = np.stack([rows[nearest == label].mean(axis=0) for label in np.unique(nearest)])
    return np.asarray(np.ptp(rows @ means.T, axis=-1))


def _prompt_rows(v: Value) -> slice:
    """Where the prompt's rows stand: behind row 0, unless a pass has said otherwise."""
    at = v.attrs.get("at", 1)
    return slice(at, at + v.attrs.get("n", 0))


def _insert_rows(x: Array, p: Array, at: int) -> Array:
    """Rows p before row `at` of x, along axis 2, batches broadcast against each other."""
    batch = np.broadcast_shapes(x.shape[:2], p.shape[:2])
    x, p = (np.broadcast_to(part, batch + part.shape[2:]) for part in (x, p))
    return np.concatenate([x[:, :, :at], p, x[:, :, at:]], axis=2)


def _features(phases: Array) -> Array:
    """φ: cosines, then sines."""
    return np.concatenate([np.cos(phases), np.sin(phases)], axis=-1)
