"""Model plan → ring program: every operation of docs/program.md's first table in terms of its second."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from ..commandline.problems import Problem, ProblemsFound
from ..plan.graph import Output, Plan, Value
from ..plan.passes import pooled_by
from ..ring.builder import RingBuilder
from ..ring.encoding import Words
from ..ring.program import RingProgram
from ..ring.schedule import schedule
from ..ring.values import HEADROOM, Fold, WideWeights
from ..series.ranges import HEAD_NORM2, LOGIT_DIFFERENCE, Ranges
from .attention import Part
from .head import cosine, dense
from .layer import LayerLowering
from .layer_norm import Norm, normalise_any
from .loss import cross_entropy, hinge
from .scales import ROW, SUMS

PROMPT_ROW = 4.0
"""A prompt row p0 + A·z may be that many times as long as a normalised row. The data owner, who knows z, keeps to that
(`runtime.tuning.objective.PromptSpace`): z itself may be anything that the ring holds."""


@dataclass(frozen=True)
class Prompted:
    """Token rows and the prompt rows behind them, not yet joined: they belong to different stages."""

    tokens: int
    prompt: int


@dataclass(frozen=True)
class Affine:
    """A value gamma∘rows + beta whose affine part is folded into what comes next instead of being computed."""

    rows: int | Prompted
    norm: Norm


@dataclass(frozen=True)
class Lowered:
    """A ring program, scheduled, and how its weights follow from the model's, which is for the model owner."""

    ring: RingProgram
    folds: dict[str, Fold]
    """By the weight's name in the program."""

    def words(self, weights: WideWeights) -> dict[str, Words]:
        """The program's weights in ring elements, by name, made of the model's (canonical names)."""
        return {name: fold.words(weights) for name, fold in self.folds.items()}


def lower(plan: Plan, weights: WideWeights | None, ranges: Ranges) -> Lowered:
    """Lower a model plan.

    `weights` (canonical names) make the overflow checks sharp; without them nominal norms are assumed. Raises
    ProblemsFound with every product that would overflow at the smallest scales that are still useful.
    """
    problems: list[str] = []
    # The rows before a layer norm are the largest values there are: spend what precision the weights leave room for.
    for sum_scale in SUMS:
        lowering = _Lowering(plan, RingBuilder(weights), ranges, sum_scale)
        lowered = lowering.run()
        if not lowering.ring.problems:
            return lowered
        problems = lowering.ring.problems
    raise ProblemsFound([Problem("error", "a product would overflow", p) for p in problems])


class _Lowering:
    """One method a kind of operation; `done` maps a model plan's value to its ring value (or folded affine)."""

    def __init__(self, plan: Plan, ring: RingBuilder, ranges: Ranges, sum_scale: int) -> None:
        self.source = plan
        self.ring = ring
        self.ranges = ranges
        self.layers = LayerLowering(ring, ranges, sum_scale)
        self.tokens = min((v.shape[0] for v in plan if v.kind == "example" and v.attrs["name"] == "x"), default=0)
        self.done: dict[int, int | Affine | Prompted] = {}

    def run(self) -> Lowered:
        for v in self.source:
            self.ring.site = f"layer {v.attrs['layer']}" if v.kind == "encoder_layer" else v.kind
            self.done[v.id] = getattr(self, f"_{v.kind}")(v)
        for output in self.source.outputs:
            self.ring.program.outputs.append(Output(output.name, self._value(output.value), output.max_candidates))
        return Lowered(schedule(self.ring.program), self.ring.folds)

    def _value(self, i: int) -> int:
        value = self.done[i]
        if not isinstance(value, int):
            raise ValueError(f"value {i} ({self.source[i].kind}) is needed by itself, but what follows was to fold it")
        return value

    def _row(self, i: int) -> tuple[int, Norm]:
        """Joined rows and the names of their affine part."""
        value = self.done[i]
        if not isinstance(value, Affine) or not isinstance(value.rows, int):
            raise ValueError(f"value {i} ({self.source[i].kind}) is no affine rows")
        return value.rows, value.norm

    # inputs

    def _example(self, v: Value) -> int:
        name = v.attrs["name"]
        scale = {"x": ROW, "select": 20, "example_weight": 24}.get(name, 0)
        i = self.ring.example(name, v.shape, scale, bound=v.bound)
        return self.ring.declare(i, norm=_row_norm(v))

    def _candidate(self, v: Value) -> int:
        # `runtime.parties.sharing.encode` refuses what reaches that
        i = self.ring.candidate(v.attrs["name"], v.shape, ROW, bound=min(v.bound, 2.0 ** (HEADROOM - ROW)))
        return self.ring.declare(i, norm=_row_norm(v))

    # prompt

    def _prompt(self, v: Value) -> int:
        r, a = self.ring, v.attrs
        n, hidden = v.shape
        d, first = a["intrinsic_dim"], a["first"]
        z = r.slice(self._value(v.inputs[0]), -1, first, first + d)
        matrix = r.public(f"A.{first}", (d, n * hidden), a["scale_bits"], a["seed"], a["bits"])
        longest = PROMPT_ROW * sqrt(hidden)
        offset = r.matmul(r.reshape(z, (1, d)), matrix, bound=longest)
        p0 = v.weights["p0"]
        start = r.weight(p0, (n, hidden), r[offset].scale, lambda w: np.asarray(w[p0]))
        prompt = r.trunc(r.add(r.reshape(offset, (n, hidden)), start), ROW)
        return r.declare(prompt, bound=longest, norm=longest)

    # Prompt rows stand behind the tokens here: attention does not see the order, and row 0 stays row 0.

    def _insert(self, v: Value) -> Prompted:
        return Prompted(self._value(v.inputs[0]), self._value(v.inputs[1]))

    def _insert_mask(self, v: Value) -> int:
        r, n, value = self.ring, v.attrs["n"], v.attrs["value"]
        mask = self._value(v.inputs[0])
        name = f"constant.{value:g}.{r[mask].scale}"
        constant = r.weight(name, (n,), r[mask].scale, lambda w: np.full(n, value))
        return r.declare(r.concat((mask, constant), -1), norm=r.norm(mask) if value == 0 else None)

    # encoder

    def _affine(self, v: Value) -> Affine:
        source = self.done[v.inputs[0]]
        rows = source if isinstance(source, Prompted) else self._value(v.inputs[0])
        return Affine(rows, Norm(v.weights["gamma"], v.weights["beta"]))

    def _encoder_layer(self, v: Value) -> int:
        r, mask = self.ring, self._value(v.inputs[1])
        x = self.done[v.inputs[0]]
        if not isinstance(x, Affine):
            raise ValueError(f"the input of layer {v.attrs['layer']} is no affine rows")
        if isinstance(x.rows, int):
            parts: tuple[Part, ...] = (Part(x.rows, mask),)
        else:
            tokens = r[x.rows.tokens].shape[0]
            parts = (Part(x.rows.tokens, r.slice(mask, -1, 0, tokens)), Part(x.rows.prompt, None))
        pool = pooled_by(self.source, v)
        if pool is None:
            return self.layers.layer(v, parts, tuple(part.rows for part in parts), x.norm)
        first, mean = parts[0].rows, None
        if pool.kind == "first_row":
            reads = r.slice(first, -2, 0, 1)
        elif pool.kind == "select_row":
            row = r.trunc(r.matmul(self._choice(pool, r[first].shape[0]), first), ROW)
            reads = r.declare(row, bound=r[first].bound, norm=r.norm(first))
        else:
            reads = r.slice(first, -2, 0, self.tokens)
            mean = self._choice(pool, self.tokens) if pool.kind == "mean_rows" else None
        return self.layers.layer(v, parts, (reads,), x.norm, mean)

    def _choice(self, pool: Value, rows: int) -> int:
        """Weights `[1, rows]` of the first rows in a choice or a mean."""
        return self.ring.reshape(self.ring.slice(self._value(pool.inputs[1]), -1, 0, rows), (1, rows))

    def _pooled(self, v: Value) -> int:
        """The layer below has pooled already."""
        if pooled_by(self.source, self.source[v.inputs[0]]) is not v:
            raise ValueError(f"value {v.id} ({v.kind}) is not the only reader of a layer")
        return self._value(v.inputs[0])

    _first_row = _select_row = _mean_rows = _token_rows = _pooled

    # heads

    def _dense(self, v: Value) -> int:
        width = self.ranges.half_width("head.dense")
        if isinstance(self.done[v.inputs[0]], Affine):
            return dense(self.ring, v, *self._row(v.inputs[0]), width)
        return dense(self.ring, v, self._value(v.inputs[0]), None, width)

    def _normalize(self, v: Value) -> int:
        row = self._value(v.inputs[0])
        return normalise_any(self.ring, self.ranges, self.ring.raise_scale(row, 24), v.attrs["eps"], "head.norm_var")

    def _cosine(self, v: Value) -> int:
        return cosine(self.ring, v, *self._row(v.inputs[0]), *self.ranges.interval("head.norm2", HEAD_NORM2))

    # losses

    def _loss(self, v: Value) -> int:
        r = self.ring
        logits, labels = (self._value(i) for i in v.inputs)
        target = r.sum(r.mul(logits, labels, bound=r[logits].bound))
        r.declare(target, bound=r[logits].bound)
        # differences of logits that the loss's non-linearity must cover
        width = min(2 * r[logits].bound, 2 * self.ranges.half_width("loss.diff", LOGIT_DIFFERENCE))
        if v.attrs["loss"] == "hinge":
            return r.trunc(hinge(r, logits, target, v.attrs["margin"], width), ROW)
        return r.trunc(cross_entropy(r, logits, target, width), ROW)

    def _mean_examples(self, v: Value) -> int:
        loss, weight = (self._value(i) for i in v.inputs)
        return self.ring.reduce_examples(self.ring.mul(loss, weight))


def _row_norm(v: Value) -> float | None:
    """Longest row of an input: normalised rows, and weights of a mean or a choice; None: no more is known than the
    bound."""
    return {"x": sqrt(v.shape[-1]), "select": 1.0}.get(v.attrs["name"])
