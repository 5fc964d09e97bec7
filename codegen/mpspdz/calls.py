"""Model plan to calls of MP-SPDZ kernels: which kernel, in which order, on which containers."""

from __future__ import annotations

from itertools import takewhile

from ..commandline.problems import Report
from ..plan.graph import LAYERS, Plan, Stage, Value
from ..plan.passes import PASSES, run_passes
from ..series.activations import OF_DECODERS
from .decoders import DecoderCalls
from .options import MpSpdzOptions
from .program import Axis, Container, MpcProgram, Ref
from .stages import join_stages
from .translator import reads_some

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
    if noised := [output for output in plan.outputs if output.noise]:
        report.error(
            f"--noise is {noised[0].noise:g}",
            "MP-SPDZ's programs add no noise to what they open: give --target embedded, or 0.",
        )
        report.check()
    if any(v.attrs.get("attention") == "rfa" and v.attrs.get("variant", "relu2") == "relu2" for v in plan):
        advice = "The MP-SPDZ target has no kernel for them: give --target embedded, or another adapter."
        report.error("attention has squared ReLU features (relu2)", advice)
        report.check()
    if any(v.kind == "kept" for v in plan):
        report.error(
            "--prototype-shots is given",
            "MP-SPDZ's programs keep nothing from step to step: give --target embedded, or 0.",
        )
        report.check()
    unknown = sorted({v.kind for v in plan if v.kind not in PLAIN and not hasattr(_Translator, f"_{v.kind}")})
    if unknown:
        report.error(f"the MP-SPDZ target has no kernel for {', '.join(unknown)}", "It renders model plans.")
    if {"loss", "logits"} - {output.name for output in plan.outputs}:
        advice = "The MP-SPDZ target renders tuning steps: give --target embedded, or --n-prompt-tokens 1 or more."
        report.error("the plan has no prompt and no losses", advice)
    report.check()


class _Translator(DecoderCalls):
    """One method per kind of operation."""

    def __init__(self, plan: Plan, options: MpSpdzOptions) -> None:
        super().__init__(plan, options)
        if self.has_candidates:
            self.program.popsize = plan.meta["options"]["popsize"]
        self.program.pair_tiles = self._pair_tiles()
        for v in plan:
            if v.id in self.refs:  # of a stack of layers
                continue
            if v.kind in PLAIN:
                kernel, attrs = PLAIN[v.kind]
                self.call(v, kernel, **{name: v.attrs[name] for name in attrs})
            else:
                getattr(self, f"_{v.kind}")(v)
        outputs = {output.name: output.value for output in plan.outputs}
        self.program.loss, self.program.logits = (self.refs[outputs[name]].name for name in ("loss", "logits"))
        self.program.num_labels = plan[outputs["logits"]].shape[-1]
        join_stages(self.program, {ref.name: plan[i].shape for i, ref in self.refs.items()} | self.shapes, options)

    def _pair_tiles(self) -> int:
        layers = [v for v in self.plan if v.kind in LAYERS]
        paired = [v for v in layers if v.stage & Stage.CANDIDATE] or layers
        rows = self.options.tile * max((self.plan[_of_rows(v)].shape[0] for v in paired), default=1)
        return max(1, min(self.options.rows // rows, self.program.popsize * self.options.tiles))

    # inputs and prompt

    def _example(self, v: Value) -> None:
        name = str(v.attrs["name"])
        shape = (self.options.tiles, self.options.tile, *v.shape)
        self.program.examples.append(Container(name, shape, (name,), self.options.fraction_bits))
        self.refs[v.id] = Ref(name, Axis.TILE)

    def _candidate(self, v: Value) -> None:
        """The data owner knows A and z: it sends the product, one for every prompt."""

    def _prompt(self, v: Value) -> None:
        self.result(v, v.kind, "prompt.prompt", self.candidate_rows(v), *self.weights(v))

    # layers

    def _encoder_layer(self, v: Value) -> None:
        """A layer and all above it that differ in their weights only: these are one stack, whatever calibration saw.
        Neighbours that share a series of scores are one call."""
        layers = self._equal_layers(v)
        stack, lo = Ref(self.stack(layers)), 0
        rows, mask, *reads = (self.refs[i] for i in v.inputs)
        while run := self._alike(layers[lo:]):
            keywords = self.attention.keywords(run) | {name: v.attrs[name] for name in LAYER_ATTRS}
            if _is_smooth(v.attrs["act"]):
                keywords["reach"] = max(self.ranges.half_width(f"layers.{x.attrs['layer']}.activation") for x in run)
            if reads:
                self.result(v, "encoder", "encoder.reading_layer", *reads, rows, mask, stack, **keywords)
            else:
                keywords = {"layers": (lo, lo + len(run)), **keywords}
                self.result(run[-1], "encoder", "encoder.encoder_stack", rows, mask, stack, **keywords)
            rows, lo = self.refs[run[-1].id], lo + len(run)
            self.refs |= {each.id: rows for each in run}

    def _equal_layers(self, first: Value) -> list[Value]:
        """The longest run of layers from here that differ in their weights only."""
        layers = [first]
        for v in self.plan.values[first.id + 1 :]:
            if reads_some(first) or reads_some(v) or not _same_layer(layers[-1], v):
                break
            layers.append(v)
        return layers

    def _alike(self, layers: list[Value]) -> list[Value]:
        """Those at the beginning that share a series of scores."""
        return list(takewhile(lambda v: self.attention.alike(layers[0], v), layers))

    # choices of rows

    def _first_row(self, v: Value) -> None:
        """The first of all rows, or the only one of a layer that has computed no other."""
        below = self.plan[v.inputs[0]]
        kind = self.plan[below.inputs[2]].kind if reads_some(below) else v.kind
        self.result(v, kind, "pooling.first_row", self.refs[below.id])

    def _token_mask(self, v: Value) -> None:
        """The mask before columns for the prompt were put in."""
        self.refs[v.id] = self.refs[self.plan[v.inputs[0]].inputs[0]]

    # heads and losses

    def _dense(self, v: Value) -> None:
        reach = {"reach": self.ranges.half_width("head.dense")} if _is_smooth(v.attrs["act"]) else {}
        self.call(v, "linear.dense", act=v.attrs["act"], **reach)

    def _loss(self, v: Value) -> None:
        if v.attrs["loss"] == "hinge":
            self.call(v, "losses.hinge", margin=v.attrs["margin"])
        else:
            self.call(v, "losses.cross_entropy")

    def _mean_examples(self, v: Value) -> None:
        self.call(v, "losses.mean_examples", tiles=self.program.pair_tiles)


def _of_rows(v: Value) -> int:
    """The rows that a layer is of."""
    return v.inputs[0] if v.kind == "encoder_layer" else v.inputs[-1]


def _same_layer(below: Value, v: Value) -> bool:
    """Whether v is a layer on `below`, and like it but for its weights."""
    attrs = [{key: x for key, x in each.attrs.items() if key != "layer"} for each in (below, v)]
    return (
        v.kind == "encoder_layer" and v.inputs == (below.id, *below.inputs[1:]) and attrs[0] == attrs[1]
        and v.shape == below.shape and v.stage == below.stage
    )  # fmt: skip


def _is_smooth(act: str) -> bool:
    """Whether an activation's kernel takes `reach`."""
    return act in OF_DECODERS and OF_DECODERS[act].smooth
