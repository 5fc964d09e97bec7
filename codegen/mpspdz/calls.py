"""Model plan to calls of MP-SPDZ kernels: which kernel, in which order, on which containers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..commandline.problems import Report
from ..plan.graph import Plan, Stage, Value
from ..plan.passes import PASSES, run_passes
from ..series.activations import ACTIVATIONS
from ..series.ranges import Ranges
from .attention import Attention
from .containers import weight_container
from .options import MpSpdzOptions
from .program import Axis, Call, Container, MpcProgram, Ref
from .stages import join_stages

PLAIN: dict[str, tuple[str, tuple[str, ...]]] = {
    "insert": ("prompt.insert", ()),
    "token_rows": ("prompt.token_rows", ("n",)),
    "insert_mask": ("prompt.insert_mask", ("n", "value")),
    "affine": ("normalization.affine", ()),
    "select_row": ("pooling.select_row", ()),
    "mean_rows": ("pooling.mean_rows", ()),
    "normalize": ("normalization.normalize", ("eps",)),
    "cosine": ("heads.cosine", ("temperature",)),
}
"""Kernel of an operation that is one call, and the attributes it takes. All others have a method of `_Translator`."""

LAYER_ATTRS = ("act", "attention_eps", "output_eps")


def translate(plan: Plan, options: MpSpdzOptions) -> MpcProgram:
    """Choose a kernel for every operation of a plan as built.

    Raises `ProblemsFound` for what there is no kernel for.
    """
    _check(plan)
    return _Translator(run_passes(plan, PASSES), options).program


def _check(plan: Plan) -> None:
    report = Report()
    if any(v.kind == "health" for v in plan):
        report.error("--health is given", "The MP-SPDZ target does not open it yet: give --target embedded.")
        report.check()
    unknown = sorted({v.kind for v in plan if v.kind not in PLAIN and not hasattr(_Translator, f"_{v.kind}")})
    if unknown:
        report.error(f"the MP-SPDZ target has no kernel for {', '.join(unknown)}", "It renders model plans.")
    if {"loss", "logits"} - {output.name for output in plan.outputs}:
        report.error("the plan has no loss and logits", "The MP-SPDZ target renders tuning steps.")
    report.check()


class _Translator:
    """One method per kind of operation; `refs` has what later calls read of a value."""

    def __init__(self, plan: Plan, options: MpSpdzOptions) -> None:
        self.plan = plan
        self.options = options
        self.ranges = Ranges(plan.meta.get("calibration", {}))
        self.attention = Attention(self.ranges, options.protocol)
        self.program = MpcProgram()
        self.refs: dict[int, Ref] = {}
        self.chosen = {v.inputs[2] for v in plan if _reads(v)}
        """Rows that a layer is computed for."""
        self.has_candidates = bool(plan.inputs("candidate"))
        if self.has_candidates:
            self.program.popsize = plan.meta["options"]["popsize"]
        self.program.pair_tiles = self._pair_tiles()
        for v in plan:
            if v.id in self.refs:  # of a stack of layers
                continue
            if v.kind in PLAIN:
                kernel, attrs = PLAIN[v.kind]
                self._call(v, kernel, **{name: v.attrs[name] for name in attrs})
            else:
                getattr(self, f"_{v.kind}")(v)
        outputs = {output.name: output.value for output in plan.outputs}
        self.program.loss, self.program.logits = (self.refs[outputs[name]].name for name in ("loss", "logits"))
        self.program.num_labels = plan[outputs["logits"]].shape[-1]
        join_stages(self.program, {ref.name: plan[i].shape for i, ref in self.refs.items()}, options)

    def _pair_tiles(self) -> int:
        layers = (v for v in self.plan if v.kind == "encoder_layer")
        rows = self.options.tile * max((self.plan[v.inputs[0]].shape[0] for v in layers), default=1)
        return max(1, min(self.options.rows // rows, self.program.popsize * self.options.tiles))

    # calls and what they read

    def _call(self, v: Value, kernel: str, **keywords: Any) -> None:
        """A call on the value's inputs, then its weights in the plan's order."""
        self._result(v, v.kind, kernel, *(self.refs[i] for i in v.inputs), *self._weights(v), **keywords)

    def _result(self, v: Value, kind: str, kernel: str, *arguments: Ref, **keywords: Any) -> None:
        """A call whose result is the value; the program calls it `kind` and its number in the plan as built."""
        name = f"{'reads' if v.id in self.chosen else kind}_{v.number}"
        # as soon as examples arrive, if it can be; without candidates there is no later
        loaded = self.has_candidates and v.stage == Stage.EXAMPLE
        calls = self.program.load if loaded else self.program.evaluate
        calls.append(Call(name, kernel, arguments, tuple(keywords.items())))
        self.refs[v.id] = Ref(name)

    def _weights(self, v: Value) -> list[Ref]:
        made = [
            replace(self._container(v, role, (name,)), name=name.replace(".", "_")) for role, name in v.weights.items()
        ]
        self.program.weights += made
        return [Ref(container.name) for container in made]

    def _container(self, v: Value, role: str, sources: tuple[str, ...]) -> Container:
        return weight_container(self.plan, v, role, sources, self.options.fraction_bits)

    # inputs and prompt

    def _example(self, v: Value) -> None:
        name = str(v.attrs["name"])
        shape = (self.options.tiles, self.options.tile, *v.shape)
        self.program.examples.append(Container(name, shape, (name,), self.options.fraction_bits))
        self.refs[v.id] = Ref(name, Axis.TILE)

    def _candidate(self, v: Value) -> None:
        """The data owner knows A and z: it sends the product, one for every prompt."""

    def _prompt(self, v: Value) -> None:
        z = str(self.plan[v.inputs[0]].attrs["name"])
        number = len(self.program.candidates)
        name = f"{z}_rows" + (f"_{number}" if number else "")
        shape = (self.program.popsize, 1, *v.shape)
        self.program.candidates.append(Container(name, shape, (z,), self.options.fraction_bits))
        self._result(v, v.kind, "prompt.prompt", Ref(name, Axis.CANDIDATE), *self._weights(v))

    # layers

    def _encoder_layer(self, v: Value) -> None:
        """A layer and all above it that differ in their weights only: one call on stacked weights."""
        layers = self._stack(v)
        last = layers[-1]
        stack = f"layers_{v.attrs['layer']}"
        containers = {role: self._container(v, role, tuple(x.weights[role] for x in layers)) for role in v.weights}
        self.program.stacks[stack] = {
            role: replace(c, name=role, shape=(len(layers), *c.shape)) for role, c in containers.items()
        }
        keywords = self.attention.keywords(layers) | {name: v.attrs[name] for name in LAYER_ATTRS}
        if _is_smooth(v.attrs["act"]):
            keywords["reach"] = max(self.ranges.half_width(f"layers.{x.attrs['layer']}.activation") for x in layers)
        x, mask, *reads = (self.refs[i] for i in v.inputs)
        kernel = "encoder.reading_layer" if reads else "encoder.encoder_stack"
        self._result(last, "encoder", kernel, *reads, x, mask, Ref(stack), **keywords)
        for below in layers[:-1]:
            self.refs[below.id] = self.refs[last.id]

    def _stack(self, first: Value) -> list[Value]:
        """The longest run of layers from here that differ in their weights only, and share a series of scores."""
        layers = [first]
        for v in self.plan.values[first.id + 1 :]:
            if _reads(first) or _reads(v) or not _same_layer(layers[-1], v) or not self.attention.alike(first, v):
                break
            layers.append(v)
        return layers

    # choices of rows

    def _first_row(self, v: Value) -> None:
        """The first of all rows, or the only one of a layer that has computed no other."""
        below = self.plan[v.inputs[0]]
        kind = self.plan[below.inputs[2]].kind if _reads(below) else v.kind
        self._result(v, kind, "pooling.first_row", self.refs[below.id])

    def _token_mask(self, v: Value) -> None:
        """The mask before columns for the prompt were put in."""
        self.refs[v.id] = self.refs[self.plan[v.inputs[0]].inputs[0]]

    # heads and losses

    def _dense(self, v: Value) -> None:
        reach = {"reach": self.ranges.half_width("head.dense")} if _is_smooth(v.attrs["act"]) else {}
        self._call(v, "linear.dense", act=v.attrs["act"], **reach)

    def _loss(self, v: Value) -> None:
        if v.attrs["loss"] == "hinge":
            self._call(v, "losses.hinge", margin=v.attrs["margin"])
        else:
            self._call(v, "losses.cross_entropy")

    def _mean_examples(self, v: Value) -> None:
        self._call(v, "losses.mean_examples", tiles=self.program.pair_tiles)


def _reads(v: Value) -> bool:
    """Whether a value is a layer that computes some rows only."""
    return v.kind == "encoder_layer" and len(v.inputs) > 2


def _same_layer(below: Value, v: Value) -> bool:
    """Whether v is a layer on `below`, and like it but for its weights."""
    attrs = [{key: x for key, x in each.attrs.items() if key != "layer"} for each in (below, v)]
    return (
        v.kind == "encoder_layer" and v.inputs == (below.id, *below.inputs[1:]) and attrs[0] == attrs[1]
        and v.shape == below.shape and v.stage == below.stage
    )  # fmt: skip


def _is_smooth(act: str) -> bool:
    """Whether an activation's kernel takes `reach`."""
    return act in ACTIVATIONS and ACTIVATIONS[act].smooth
