"""Model plan → ring program: every operation of docs/program.md's first table in terms of its second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, log, sqrt

import numpy as np

from ..commandline.problems import Problem, ProblemsFound
from ..memory import kept_bytes
from ..native.network import NETWORKS
from ..plan.graph import LAYERS, Plan, Stage, Value
from ..plan.passes import RING_PASSES, run_passes
from ..ring.builder import RingBuilder
from ..ring.cost import generation_cost, stage_cost
from ..ring.encoding import Words, stored
from ..ring.program import RingProgram
from ..ring.schedule import schedule
from ..ring.values import HEADROOM, Fold, WideWeights
from ..series.ranges import HEAD_NORM2, Ranges
from .decoders.layer import DecoderLowering
from .decoders.norm import longest_row, normalised, stream_scale
from .head import Direction, class_means, cosine, dense, label_words, opened_row, prototypes
from .heads import Part
from .health import Health, Watch
from .layer import LayerLowering
from .layer_norm import Norm, normalise_any
from .loss import clipped, clipped_losses, cross_entropy, hinge, loss_width
from .narrow import ROUND, narrow
from .scales import EMBEDDING, LOGIT, ROW, SUMS

PROMPT_ROW = 4.0
"""A prompt row p0 + A·z may be that many times as long as a normalised row. The data owner, who knows z, keeps to that
(`runtime.tuning.objective.PromptSpace`): z itself may be anything that the ring holds."""
TAKEN_APART = ("affine", "insert", "recall")
"""Operations that are never computed: what reads them folds γ and β into weights, takes both parts by themselves, or
remembers keys and values in place of rows."""


MEMORY = 10e9
"""Bytes per second that a party reads its weights with, where a step has few rows."""


@dataclass(frozen=True)
class Lowered:
    """A ring program, scheduled, and how its weights follow from the model's, which is for the model owner."""

    ring: RingProgram
    folds: dict[str, Fold]
    """By the weight's name in the program."""
    health: float | None = None
    """Largest number of wrong rows per example that `--health` may show while all values are in their ranges; None:
    it shows none."""
    clipped: tuple[float, float] | None = None
    """Between what the parties' loss of an example lies, whatever the example is; None: nothing clips it."""
    factored: bool = False
    """Whether a LoRA adapter's changes are multiplied by themselves (`--lora-products`)."""

    def words(self, weights: WideWeights) -> dict[str, Words]:
        """The program's weights in ring elements, by name, made of the model's (canonical names)."""
        return {name: fold.words(weights) for name, fold in self.folds.items()}

    def secret_words(self, weights: WideWeights) -> dict[str, Words]:
        """Those of them that the model owner shares."""
        names = (str(v.attrs["name"]) for v in self.ring.inputs("weight"))
        return {name: self.folds[name].words(weights) for name in names}

    def public_numbers(self, weights: WideWeights) -> Iterator[bytes]:
        """The file of those that everybody has, value by value."""
        for v in self.ring.inputs("constant"):
            yield stored(self.folds[v.attrs["name"]].words(weights), v.attrs["bytes"])


def lower(plan: Plan, weights: WideWeights | None, ranges: Ranges) -> Lowered:
    """Lower a model plan.

    `weights` (canonical names) make the overflow checks sharp; without them nominal norms are assumed. Raises
    ProblemsFound with every product that would overflow at the smallest scales that are still useful. With a LoRA
    adapter's changes both merged and factored (`--lora-products auto`), the program that waits less is taken.
    """
    plan = run_passes(plan, RING_PASSES)
    options = plan.meta.get("options", {})
    products, ranks = (options.get(name) for name in ("lora_products", "private_ranks"))
    if weights is None or not ranks or products == "merged":
        return _lowered(plan, weights, ranges, {})
    of_changes = {name: rank for name, rank in zip(options["private_tensors"], ranks, strict=True) if rank}
    if products == "factored":
        return _lowered(plan, weights, ranges, of_changes)
    merged = _lowered(plan, weights, ranges, {})
    if kept_bytes(merged.ring, Stage.SETUP) / MEMORY < NETWORKS[0].latency:  # factors take rounds: they cannot pay
        return merged
    return min(merged, _lowered(plan, weights, ranges, of_changes), key=lambda found: waited(found.ring))


def _lowered(plan: Plan, weights: WideWeights | None, ranges: Ranges, ranks: Mapping[str, int]) -> Lowered:
    problems: list[str] = []
    weighings = ROUND[plan.meta.get("options", {}).get("rounds", "default")]
    # The rows before a layer norm are the largest values there are: spend what precision the weights leave room for.
    for sum_scale in SUMS:
        # of an open model (`secret` is empty) all weights are shared as ever: its parties need not have it
        known = plan.is_public if plan.secret else None
        ring = RingBuilder(weights, known, ranks=ranks, round_bits=max(weighings))
        lowering = _Lowering(plan, ring, ranges, sum_scale)
        lowered = lowering.run(weighings)
        if not lowering.ring.problems:
            return lowered
        problems = lowering.ring.problems
    raise ProblemsFound([Problem("error", "a product would overflow", p) for p in problems])


def _rounds_and_bytes(program: RingProgram) -> tuple[int, int]:
    """Of one instance of every stage."""
    stages = Stage.__members__.values()  # iterating over flags leaves out SETUP and PAIR, which are no single bits
    costs = [stage_cost(program, stage, 1) for stage in stages]
    return sum(cost.rounds for cost in costs), sum(cost.bytes for cost in costs)


def waited(program: RingProgram) -> float:
    """Seconds that a candidate on one example (without candidates: an example) waits for a LAN, and for weights from
    memory: what ways to multiply differ by, since they compute as much. Depends on the program alone, which it decides
    on."""
    cost = generation_cost(program, 1, 1) if program.inputs("candidate") else stage_cost(program, Stage.EXAMPLE, 1)
    return NETWORKS[0].seconds(kept_bytes(program, Stage.SETUP) / MEMORY, cost.rounds, cost.bytes / 3)


class _Lowering:
    """One method a kind of operation; `done` maps a model plan's value to its ring value."""

    def __init__(self, plan: Plan, ring: RingBuilder, ranges: Ranges, sum_scale: int) -> None:
        self.source = plan
        self.ring = ring
        self.ranges = ranges
        self.health = Health(ring) if any(v.kind == "health" for v in plan) else None
        self.layers = LayerLowering(ring, ranges, sum_scale, self.health)
        self.decoder = DecoderLowering(ring, ranges, sum_scale, self.health)
        first = next((v.attrs["layer"] for v in plan if v.kind == "decoder_layer"), None)
        self.rows = ROW if first is None else stream_scale(ranges, f"layers.{first}.input_norm_var")
        """Scale of the rows that enter the first layer."""
        self.done: dict[int, int] = {}
        self.directions: dict[int, Direction] = {}
        """Of rows that a cosine head has been given, by the row's id."""

    def run(self, weighings: tuple[int, ...]) -> Lowered:
        """Of programs in which a round is worth so many bits, the one with the fewest rounds."""
        for v in self.source:
            if v.kind not in TAKEN_APART and (v.kind in LAYERS or "layer" not in v.attrs):
                self._lower(v)
        for output in self.source.outputs:
            keep = None if output.keep is None else self._value(output.keep)
            value = self._value(output.value)
            self.ring.check_noise(output.name, value, output.noise)
            self.ring.program.outputs.append(replace(output, value=value, keep=keep))
        health = self.health.limit if self.health else None
        program = self.ring.program
        if not self.ring.problems:
            program = min((schedule(narrow(program, bits)) for bits in weighings), key=_rounds_and_bytes)
        clips = any("clip" in v.attrs for v in self.source) and not self.ring.problems
        clipped = clipped_losses(program) if clips else None
        return Lowered(program, self.ring.folds, health, clipped, bool(self.ring.ranks))

    def _lower(self, v: Value) -> None:
        self.ring.site = f"layer {v.attrs['layer']}" if "layer" in v.attrs else v.kind
        self.done[v.id] = getattr(self, f"_{v.kind}")(v)

    def _value(self, i: int) -> int:
        """The ring value; a choice of rows that was made for a layer is lowered when the layer asks for it."""
        if i not in self.done:
            v = self.source[i]
            if v.kind in TAKEN_APART:
                raise ValueError(f"value {i} ({v.kind}) is needed by itself, but what follows was to fold it")
            self._lower(v)
        return self.done[i]

    def _rows(self, i: int) -> tuple[int, ...]:
        """Rows of the model plan: the tokens', and the prompt's where they have been inserted just before."""
        value = self.source[i]
        return tuple(self._value(j) for j in value.inputs) if value.kind == "insert" else (self._value(i),)

    def _row(self, i: int) -> tuple[int, Norm | None]:
        """A row without its affine part, and the names of that if it has one."""
        value = self.source[i]
        if value.kind != "affine":
            return self._value(i), None
        return self._value(value.inputs[0]), Norm(value.weights["gamma"], value.weights["beta"])

    # inputs

    def _example(self, v: Value) -> int:
        name = v.attrs["name"]
        scale = {"x": self.rows, "z": ROW, "select": 20, "example_weight": 24, "share": 24}.get(name, 0)
        longest = _row_norm(v)
        if name == "x" and longest == inf:  # a decoder's rows: what its first norm takes
            longest = self._longest_row(v)
        bound = min(v.bound, longest or inf)
        i = self.ring.example(name, v.shape, scale, bound=min(bound, 2.0 ** (30 - scale)) if name == "z" else bound)
        return self.ring.declare(i, norm=longest)

    def _longest_row(self, v: Value) -> float:
        """What a row of a decoder's input is no longer than."""
        first = next(layer for layer in self.source if layer.kind == "decoder_layer")
        return longest_row(self.ranges, f"layers.{first.attrs['layer']}.input_norm_var", v.shape[-1])

    def _candidate(self, v: Value) -> int:
        if v.attrs["name"] == "shots":
            return self.ring.candidate("shots", v.shape, EMBEDDING, bound=v.bound)
        if v.attrs["name"] == "rows":
            longest = self._longest_row(v)
            return self.ring.declare(self.ring.candidate("rows", v.shape, self.rows, bound=longest), norm=longest)
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

    def _insert_mask(self, v: Value) -> int:
        r, n, value = self.ring, v.attrs["n"], v.attrs["value"]
        mask = self._value(v.inputs[0])
        name = f"constant.{value:g}.{r[mask].scale}"
        constant = r.weight(name, (n,), r[mask].scale, lambda w: np.full(n, value))
        return r.declare(r.concat((mask, constant), -1), norm=r.norm(mask) if value == 0 else None)

    # encoder

    def _encoder_layer(self, v: Value) -> int:
        r = self.ring
        x, mask, *more = v.inputs
        rows = self._rows(x)
        kept = self._value(mask)
        parts = [Part(each, None) for each in rows]
        parts[0] = Part(rows[0], r.slice(kept, -1, 0, r[rows[0]].shape[0]))
        reads = (self._value(more[0]),) if more else rows
        mean = self._weights_of(more[1], r[reads[0]].shape[0]) if len(more) > 1 else None
        norm = Norm(v.weights["input_norm.gamma"], v.weights["input_norm.beta"])
        zeroed = v.attrs.get("padding") == "zero"
        live = r.slice(kept, -1, 0, sum(r[each].shape[0] for each in reads)) if zeroed else None
        return self.layers.layer(v, tuple(parts), reads, norm, mean=mean, live=live)

    def _weights_of(self, i: int, rows: int) -> int:
        """Weights `[1, rows]` of the first rows in a choice or a mean."""
        return self.ring.reshape(self.ring.slice(self._value(i), -1, 0, rows), (1, rows))

    # decoder

    def _decoder_layer(self, v: Value) -> int:
        reads, mask, *parts = v.inputs
        if self.source[parts[-1]].kind == "recall":
            before, capacity = (self._value(part) for part in parts[:-1]), self.source[parts[-1]].shape[0]
            return self.decoder.step(v, self._value(mask), tuple(before), self._value(reads), capacity)
        cut = self.source[reads]
        taken = None if reads == parts[-1] else (cut.attrs["lo"], cut.attrs["hi"])
        return self.decoder.layer(v, self._value(mask), tuple(self._value(part) for part in parts), taken)

    def _slice_rows(self, v: Value) -> int:
        return self.ring.slice(self._value(v.inputs[0]), -2, v.attrs["lo"], v.attrs["hi"])

    def _join_rows(self, v: Value) -> int:
        return self.ring.concat(tuple(self._value(i) for i in v.inputs), -2)

    def _offset(self, v: Value) -> int:
        r, a = self.ring, v.attrs
        d, first, longest = a["intrinsic_dim"], a["first"], PROMPT_ROW * sqrt(v.shape[-1])
        z = r.slice(self._value(v.inputs[0]), -1, first, first + d)
        matrix = r.public(f"A.{first}", (d, v.size), a["scale_bits"], a["seed"], a["bits"])
        rows = r.reshape(r.matmul(r.reshape(z, (1, d)), matrix, bound=longest), v.shape)
        return r.declare(r.shift(rows, a["unit_bits"]), bound=longest * 2.0 ** a["unit_bits"])

    def _add_offset(self, v: Value) -> int:
        r, at = self.ring, v.attrs["at"]
        x, offset = (self._value(i) for i in v.inputs)
        rows, n = r[x].shape[0], r[offset].shape[0]
        moved = [r.add(r.slice(x, -2, at, at + n), r.trunc(offset, r[x].scale))]
        before = [r.slice(x, -2, 0, at)] if at else []
        behind = [r.slice(x, -2, at + n, rows)] if at + n < rows else []
        return r.concat((*before, *moved, *behind), -2)

    def _add_first(self, v: Value) -> int:
        """Row j of the offset goes to the slot where the mask, 0…01…1, has begun j rows before: a product with its
        differences, which are local."""
        r = self.ring
        x, mask, offset = (self._value(i) for i in v.inputs)
        offset = r.trunc(offset, r[x].scale)
        rows, n = r[x].shape[0], r[offset].shape[0]

        def behind(j: int) -> int:
            """The mask j rows further down; its first row is 0."""
            return r.concat((*[r.slice(mask, -1, 0, 1)] * j, r.slice(mask, -1, 0, rows - j)), -1) if j else mask

        begun = [r.reshape(behind(j), (rows, 1)) for j in range(n + 1)]
        places = r.concat(tuple(r.sub(a, b) for a, b in pairwise(begun)), -1)
        return r.add(x, r.reshare(r.matmul(places, offset, bound=r[offset].bound)))

    def _final_norm(self, v: Value) -> int:
        x, *mask = (self._value(i) for i in v.inputs)
        live = mask[0] if mask else None
        watch = self.health.watching(live) if self.health else None
        return normalised(self.ring, self.ranges, x, v.attrs["eps"], "final_norm_var", live, watch)

    def _mean_rows(self, v: Value) -> int:
        rows = self._value(v.inputs[0])
        r = self.ring
        mean = r.trunc(r.matmul(self._weights_of(v.inputs[1], r[rows].shape[0]), rows), ROW)
        return r.declare(mean, norm=r.norm(rows))

    # choices of rows: the prompt's stand behind the tokens', and no head reads them

    def _first_row(self, v: Value) -> int:
        return self.ring.slice(self._rows(v.inputs[0])[0], -2, 0, 1)

    def _select_row(self, v: Value) -> int:
        r, rows = self.ring, self._rows(v.inputs[0])[0]
        row = r.trunc(r.matmul(self._weights_of(v.inputs[1], r[rows].shape[0]), rows), ROW)
        return r.declare(row, bound=r[rows].bound, norm=r.norm(rows))

    def _token_rows(self, v: Value) -> int:
        return self.ring.slice(self._rows(v.inputs[0])[0], -2, 0, v.shape[0])

    def _token_mask(self, v: Value) -> int:
        return self.ring.slice(self._value(v.inputs[0]), -1, 0, v.shape[0])

    # heads

    def _opened_row(self, v: Value) -> int:
        return opened_row(self.ring, v, self._value(v.inputs[0]))

    def _dense(self, v: Value) -> int:
        return dense(self.ring, v, *self._row(v.inputs[0]), self.ranges.half_width("head.dense"))

    def _watch(self) -> Watch | None:
        return self.health.watching(None) if self.health else None

    def _normalize(self, v: Value) -> int:
        row = self._value(v.inputs[0])
        if v.attrs.get("of") == "prompt":  # whatever the search tries; public text shows nothing of it
            return normalise_any(self.ring, Ranges(), self.ring.raise_scale(row, 24), v.attrs["eps"], "prompt")
        return normalise_any(
            self.ring, self.ranges, self.ring.raise_scale(row, 24), v.attrs["eps"], "head.norm_var", self._watch()
        )

    def _cosine(self, v: Value) -> int:
        row, norm = self._row(v.inputs[0])
        if norm is None:
            raise ValueError(f"value {v.id} (cosine) is of a row without affine part")
        interval, given = self.ranges.interval("head.norm2", HEAD_NORM2), [self._value(i) for i in v.inputs[1:]]
        logits, self.directions[v.inputs[0]] = cosine(self.ring, v, row, norm, *interval, *given, watch=self._watch())
        return logits

    # shots: docs/program.md, "Shots"

    def _kept(self, v: Value) -> int:
        return self.ring.declare(self.ring.kept(v.attrs["name"], v.shape, EMBEDDING, bound=v.bound), norm=v.bound)

    def _prototypes(self, v: Value) -> int:
        return prototypes(self.ring, v, *(self._value(i) for i in v.inputs))

    def _label_words(self, v: Value) -> int:
        row, norm = self._row(v.inputs[0])
        if norm is None:
            raise ValueError(f"value {v.id} (label_words) is of a row without affine part")
        self.directions[v.inputs[1]] = Direction(row, None)
        return label_words(self.ring, v, row, norm, *(self._value(i) for i in v.inputs[2:]))

    def _class_means(self, v: Value) -> int:
        row, *others = v.inputs
        return class_means(self.ring, v, self.directions[row], *(self._value(i) for i in others))

    # losses

    def _loss(self, v: Value) -> int:
        r = self.ring
        logits, one_hot = (self._value(i) for i in v.inputs)
        target = r.sum(r.mul(logits, one_hot, bound=r[logits].bound))
        r.declare(target, bound=r[logits].bound)
        # differences of logits that the loss's non-linearity must cover
        width = min(2 * r[logits].bound, loss_width(self.ranges))
        margin, labels = v.attrs["margin"], r[logits].shape[-1]
        if v.attrs["loss"] == "hinge":
            loss, most = hinge(r, logits, target, margin, width), (labels - 1) * (margin + width)
        else:
            loss, most = cross_entropy(r, logits, target, width), width + log(labels)
        return clipped(r, loss, v.attrs["clip"], most) if "clip" in v.attrs else r.trunc(loss, LOGIT)

    def _mean_examples(self, v: Value) -> int:
        loss, weight = (self._value(i) for i in v.inputs)
        return self.ring.reduce_examples(self.ring.mul(loss, weight), v.attrs.get("total", 1.0))

    def _health(self, v: Value) -> int:
        assert self.health is not None
        loss, weight = (self._value(i) for i in v.inputs)
        return self.health.behind(loss, weight, v.attrs.get("total", 1.0))


def _row_norm(v: Value) -> float | None:
    """Longest row of an input: normalised rows, and weights of a mean or a choice; None: no more is known than the
    bound."""
    return {"x": v.bound, "select": 1.0}.get(v.attrs["name"])
