"""Passes: each makes of a model plan one that computes the same and is nearer to what programs do.

Both targets start from `PASSES`, the ring program from `RING_PASSES`. Values keep the number that the plan as built,
which `plan.json` prints and calibration runs, has for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from .graph import Plan, Value

Pass = Callable[[Plan], Plan]


def fold_affine(plan: Plan) -> Plan:
    """A layer takes gamma and beta of the layer norm below as weights of its own: x is γ∘x̂ + β there.

    Heads read an affine value as before: whether it is computed or folded is their target's choice.
    """
    made, readers = _Copy(plan), _readers(plan)
    folded: dict[int, dict[str, str]] = {}
    for v in plan:
        if v.kind == "affine" and {reader.kind for reader in readers[v.id]} == {"encoder_layer"}:
            folded[v.id] = {f"input_norm.{role}": name for role, name in v.weights.items()}
            made.now[v.id] = made.now[v.inputs[0]]
        elif v.kind == "encoder_layer" and v.inputs[0] in folded:
            made.keep(v, weights=folded[v.inputs[0]] | v.weights)
        else:
            made.keep(v)
    return made.done()


def prune_rows(plan: Plan) -> Plan:
    """A layer computes only the output rows that somebody reads.

    It gets a third input, the rows below those: of the others attention takes keys and values, and no more.
    """
    made, readers = _Copy(plan), _readers(plan)
    for v in plan:
        if v.id in made.now:  # a choice of rows, made with its layer
            continue
        pool = _pooled_by(plan, readers, v)
        if pool is None:
            made.keep(v)
        elif pool.kind in ("first_row", "select_row"):
            _one_row(made, v, pool)
        else:
            _token_rows(made, v, pool)
    return made.done()


def _pooled_by(plan: Plan, readers: dict[int, list[Value]], layer: Value) -> Value | None:
    """The choice of rows that alone reads a layer's output; None where other values read it or all rows count."""
    if layer.kind != "encoder_layer" or len(readers[layer.id]) != 1:
        return None
    (pool,) = readers[layer.id]
    if pool.kind == "mean_rows":  # only the prompt's rows are known to have no weight in it
        return pool if plan[pool.inputs[1]].kind == "insert_mask" else None
    return pool if pool.kind in ("first_row", "select_row", "token_rows") else None


def _one_row(made: _Copy, layer: Value, pool: Value) -> None:
    """The choice comes before the layer; behind it is the only row there is."""
    x, *others = (made.now[i] for i in (layer.inputs[0], *pool.inputs[1:]))
    reads = made.add(pool, (x, *others), attrs={"layer": layer.attrs["layer"]})
    row = made.keep(layer, (reads,), shape=(1, *pool.shape))
    made.now[pool.id] = made.add(pool, (row,), kind="first_row")


def _token_rows(made: _Copy, layer: Value, pool: Value) -> None:
    """The prompt's rows go before the layer; behind it a mean is of the tokens, by their weights alone."""
    x, *others = (made.now[i] for i in (layer.inputs[0], *pool.inputs[1:]))
    rows, hidden = layer.shape
    n = (made.source[pool.inputs[1]] if others else pool).attrs["n"]
    attrs = {"n": n, "layer": layer.attrs["layer"]}
    reads = made.add(pool, (x,), kind="token_rows", shape=(rows - n, hidden), attrs=attrs)
    if not others:
        made.now[pool.id] = made.keep(layer, (reads,), shape=(rows - n, hidden))
        return
    padded = made.source[pool.inputs[1]]
    weights = made.add(padded, (others[0],), kind="token_mask", shape=(rows - n,), attrs=attrs)
    tokens = made.keep(layer, (reads,), shape=(rows - n, hidden))
    made.now[pool.id] = made.add(pool, (tokens, weights))


def place_prompt(plan: Plan) -> Plan:
    """Prompt rows stand behind the tokens (`at`) in place of behind row 0, in rows and masks alike.

    Attention does not see the order of rows, and row 0 stays row 0. So a layer's rows are two parts, of two stages, one
    behind the other.
    """
    made = _Copy(plan)
    for v in plan:
        if v.kind in ("insert", "insert_mask", "token_rows", "token_mask"):
            tokens = min(v.shape[0], plan[v.inputs[0]].shape[0])
            made.keep(v, attrs={**v.attrs, "at": tokens})
        else:
            made.keep(v)
    return made.done()


def average_in_norm(plan: Plan) -> Plan:
    """A layer of which only a mean of rows is read takes the mean's weights as fourth input.

    Its last layer norm multiplies rows y_t by scales s_t, so that Σ w_t·(y_t·s_t) = (w∘s)ᵀY: the weights meet the
    scales, and one row is truncated in place of all.
    """
    made, readers = _Copy(plan), _readers(plan)
    for v in plan:
        if v.id in made.now:
            continue
        if v.kind == "encoder_layer" and [reader.kind for reader in readers[v.id]] == ["mean_rows"]:
            (mean,) = readers[v.id]
            reads = () if len(v.inputs) > 2 else (made.now[v.inputs[0]],)
            made.now[mean.id] = made.keep(v, (*reads, made.now[mean.inputs[1]]), shape=mean.shape)
        else:
            made.keep(v)
    return made.done()


def zero_padding(plan: Plan) -> Plan:
    """A layer whose rows the layer above attends to makes rows of zeros of those that the mask leaves out.

    Its last layer norm does that where rows are still numbers: the scales s_t of y_t·s_t become m_t·s_t. The data
    owner's rows are so already. Values m∘(W x̂ + b) = W x̂ + m⊗b then need no multiplication.
    """
    made, readers = _Copy(plan), _readers(plan)
    for v in plan:
        attended = any(reader.kind in ("encoder_layer", "insert", "token_rows") for reader in readers[v.id])
        if v.kind == "encoder_layer" and attended:
            made.keep(v, attrs={**v.attrs, "padding": "zero"})
        else:
            made.keep(v)
    return made.done()


PASSES: tuple[Pass, ...] = (fold_affine, prune_rows)
"""Before either target."""
RING_PASSES: tuple[Pass, ...] = (*PASSES, place_prompt, average_in_norm, zero_padding)
"""Before lowering to the ring; MP-SPDZ's kernels insert behind row 0, take a mean by itself and mask values."""


def run_passes(plan: Plan, passes: Iterable[Pass]) -> Plan:
    """The plan after all of them, in order; the given one stays as it is."""
    for each in passes:
        plan = each(plan)
    return plan


class _Copy:
    """A plan in the making, beside the one that it is made of; `now`: id there → id here."""

    def __init__(self, source: Plan) -> None:
        self.source = source
        self.now: dict[int, int] = {}
        self._plan = Plan(secret=source.secret, meta=source.meta)

    def add(self, v: Value, inputs: tuple[int, ...], **changes: Any) -> int:
        """A value that `v` gives rise to; `inputs` are ids here."""
        i = len(self._plan.values)
        self._plan.values.append(replace(v, id=i, inputs=inputs, built=v.number, **changes))
        return i

    def keep(self, v: Value, more: tuple[int, ...] = (), **changes: Any) -> int:
        """The same value; `more`: further inputs, ids here."""
        self.now[v.id] = self.add(v, (*(self.now[i] for i in v.inputs), *more), **changes)
        return self.now[v.id]

    def done(self) -> Plan:
        """The plan, with the same outputs."""
        self._plan.outputs = [
            replace(o, value=self.now[o.value], keep=None if o.keep is None else self.now[o.keep])
            for o in self.source.outputs
        ]
        return self._plan


def _readers(plan: Plan) -> dict[int, list[Value]]:
    """By id, the values that read a value; an output reads itself, as somebody outside does."""
    readers: dict[int, list[Value]] = {v.id: [] for v in plan}
    for v in plan:
        for i in v.inputs:
            readers[i].append(v)
    for output in plan.outputs:
        readers[output.value].append(plan[output.value])
    return readers
