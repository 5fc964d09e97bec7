"""Model plan to calls of MP-SPDZ kernels: which kernel, in which order, on which containers."""

from __future__ import annotations

from dataclasses import replace

from ..commandline.problems import Report
from ..plan.graph import Plan, Stage, Value
from ..plan.passes import pooled_by
from ..series.ranges import Ranges
from .containers import weight_container
from .options import MpSpdzOptions
from .program import Call, Container, MpcProgram
from .stages import join_stages

ENCODER_ATTRS = ("variant", "heads", "features", "floor", "act", "attention_eps", "output_eps")


def translate(plan: Plan, options: MpSpdzOptions) -> MpcProgram:
    """Choose a kernel for every operation of the plan."""
    _check(plan)
    return _Translator(plan, options).program


def _check(plan: Plan) -> None:
    report = Report()
    if any(v.kind == "encoder_layer" and v.attrs["attention"] != "rfa" for v in plan):
        report.error("--attention is 'softmax'", "Accepted by the MP-SPDZ target: rfa.")
    unknown = sorted({v.kind for v in plan} - set(_KERNELS) - {"example", "candidate", "encoder_layer"})
    if unknown:
        report.error(f"the MP-SPDZ target has no kernel for {', '.join(unknown)}", "It renders model plans.")
    if {"loss", "logits"} - {output.name for output in plan.outputs}:
        report.error("the plan has no loss and logits", "The MP-SPDZ target renders tuning steps.")
    report.check()


_KERNELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "prompt": ("prompt.prompt", ()),
    "insert": ("prompt.insert", ()),
    "token_rows": ("prompt.token_rows", ("n",)),
    "insert_mask": ("prompt.insert_mask", ("n", "value")),
    "affine": ("normalization.affine", ()),
    "first_row": ("pooling.first_row", ()),
    "select_row": ("pooling.select_row", ()),
    "mean_rows": ("pooling.mean_rows", ()),
    "dense": ("linear.dense", ("act",)),
    "normalize": ("normalization.normalize", ("eps",)),
    "cosine": ("heads.cosine", ("temperature",)),
    "loss": ("losses.", ("margin",)),
    "mean_examples": ("losses.mean_examples", ()),
}
"""Kernel of a plan operation and the attributes it takes; weights follow the inputs, in the plan's order."""

_LOSSES = {"ce": "cross_entropy", "hinge": "hinge"}


class _Translator:
    def __init__(self, plan: Plan, options: MpSpdzOptions) -> None:
        self.plan = plan
        self.options = options
        self.ranges = Ranges(plan.meta.get("calibration", {}))
        self.program = MpcProgram()
        self.names: dict[int, str] = {}
        self.has_candidates = bool(plan.inputs("candidate"))
        if self.has_candidates:
            self.program.popsize = plan.meta["options"]["popsize"]
        self.program.pair_tiles = self._pair_tiles()
        position = 0
        while position < len(plan.values):
            position += self._value(position)
        self._outputs()
        shapes = {self.names[v.id]: v.shape for v in plan if v.id in self.names}
        join_stages(self.program, shapes, options)

    def _pair_tiles(self) -> int:
        rows = self.options.tile * max((v.shape[0] for v in self.plan if v.kind == "encoder_layer"), default=1)
        return max(1, min(self.options.rows // rows, self.program.popsize * self.options.tiles))

    def _value(self, position: int) -> int:
        """Translate the value at this position; returns how many values that covered."""
        value = self.plan[position]
        if value.kind == "example":
            shape = (self.options.tiles, self.options.tile, *value.shape)
            self._input(value, self.program.examples, shape, "[tile]")
        elif value.kind == "candidate":
            self.names[value.id] = ""  # its prompt names the container
        elif layers := self._stack(position):
            self._encoder(layers)
            return 2 * len(layers)
        else:
            self._operation(value)
        return 1

    def _input(self, value: Value, group: list[Container], shape: tuple[int, ...], index: str) -> None:
        name = str(value.attrs["name"])
        group.append(Container(name, shape, (name,), self.options.fraction_bits))
        self.names[value.id] = name + index

    def _operation(self, value: Value) -> None:
        below = self.plan[value.inputs[0]]
        if below.kind == "encoder_layer" and self._pool(below) is value:
            return self._pooled(value)
        kernel, attrs = _KERNELS[value.kind]
        keywords = {name: value.attrs[name] for name in attrs}
        if value.kind == "loss":
            kernel += _LOSSES[value.attrs["loss"]]
            keywords = keywords if value.attrs["loss"] == "hinge" else {}
        if value.kind == "mean_examples":
            keywords["tiles"] = self.program.pair_tiles
        if value.attrs.get("act") == "gelu":
            keywords["reach"] = self.ranges.half_width("head.dense")
        if value.kind == "prompt":
            self._candidate(value)
        weights = [self._weight(value, role, name) for role, name in value.weights.items()]
        arguments = (*(self.names[i] for i in value.inputs), *weights)
        self._call(value, Call(f"{value.kind}_{value.id}", kernel, arguments, tuple(keywords.items())))

    def _candidate(self, value: Value) -> None:
        """The data owner knows A and z: it sends the product, one for every prompt."""
        source = self.plan[value.inputs[0]]
        number = len(self.program.candidates)
        name = f"{source.attrs['name']}_rows" + (f"_{number}" if number else "")
        shape = (self.program.popsize, 1, *value.shape)
        self.program.candidates.append(Container(name, shape, (source.attrs["name"],), self.options.fraction_bits))
        self.names[source.id] = f"{name}[candidate]"

    def _call(self, value: Value, call: Call) -> None:
        self._group(value).append(call)
        self.names[value.id] = call.result

    def _group(self, value: Value) -> list[Call]:
        """Where the value is computed: when examples arrive, if it can be; without candidates there is no later."""
        loaded = self.has_candidates and value.stage == Stage.EXAMPLE
        return self.program.load if loaded else self.program.evaluate

    def _weight(self, value: Value, role: str, name: str) -> str:
        variable = name.replace(".", "_")
        container = weight_container(self.plan, value, role, (name,), self.options.fraction_bits)
        self.program.weights.append(replace(container, name=variable))
        return variable

    def _stack(self, position: int) -> list[tuple[Value, Value]]:
        """The longest run of (affine, encoder layer) pairs from here whose layers differ in their weights only."""
        layers: list[tuple[Value, Value]] = []
        values = self.plan.values
        while position + 1 < len(values):
            affine, layer = values[position : position + 2]
            if affine.kind != "affine" or layer.kind != "encoder_layer" or layer.inputs[0] != affine.id:
                break
            pooled = self._pool(layer) is not None
            if layers and (pooled or not _same_layer(layers[-1][1], affine, layer)):
                break
            layers.append((affine, layer))
            position += 2
            if pooled:
                break
        return layers

    def _encoder(self, layers: list[tuple[Value, Value]]) -> None:
        affine, first = layers[0]
        last = layers[-1][1]
        stack = f"layers_{first.attrs['layer']}"
        bits = self.options.fraction_bits
        containers: dict[str, Container] = {}
        for role in affine.weights:
            sources = tuple(a.weights[role] for a, _ in layers)
            containers[f"input_norm.{role}"] = weight_container(self.plan, affine, role, sources, bits)
        for role in first.weights:
            containers[role] = weight_container(self.plan, first, role, tuple(x.weights[role] for _, x in layers), bits)
        self.program.stacks[stack] = {
            role: replace(c, name=f'{stack}["{role}"]', shape=(len(layers), *c.shape)) for role, c in containers.items()
        }
        kernel = "encoder.encoder_stack"
        arguments: tuple[str, ...] = (self.names[affine.inputs[0]], self.names[first.inputs[1]], stack)
        if pool := self._pool(last):
            kernel, arguments = "encoder.reading_layer", (self._reads(pool, affine), *arguments)
        keywords = {name: first.attrs[name] for name in ENCODER_ATTRS}
        if first.attrs["act"] == "gelu":
            keywords["reach"] = max(self.ranges.half_width(f"layers.{x.attrs['layer']}.gelu") for _, x in layers)
        self._call(last, Call(f"encoder_{last.id}", kernel, arguments, tuple(keywords.items())))

    def _pool(self, layer: Value) -> Value | None:
        """What alone reads a layer's output, and not every row of it."""
        pool = pooled_by(self.plan, layer)
        some = pool is not None and (pool.kind != "mean_rows" or self._prompt_rows(pool) > 0)
        return pool if some else None

    def _reads(self, pool: Value, affine: Value) -> str:
        """The rows below a layer that those which `pool` reads are made of."""
        x = self.names[affine.inputs[0]]
        if pool.kind in ("first_row", "select_row"):
            arguments = (x, *(self.names[i] for i in pool.inputs[1:]))
            call = Call(f"reads_{pool.id}", f"pooling.{pool.kind}", arguments)
        else:
            call = Call(f"reads_{pool.id}", "prompt.token_rows", (x,), (("n", self._prompt_rows(pool)),))
        self._group(pool).append(call)
        return call.result

    def _prompt_rows(self, pool: Value) -> int:
        """How many of the rows are the prompt's, which a mean over tokens and token_rows leave out."""
        source = pool if pool.kind == "token_rows" else self.plan[pool.inputs[1]]
        return int(source.attrs["n"]) if source.kind in ("token_rows", "insert_mask") else 0

    def _pooled(self, pool: Value) -> None:
        """What is left to do for `pool` where its layer has computed no other rows."""
        rows = self.names[pool.inputs[0]]
        if pool.kind == "token_rows":
            self.names[pool.id] = rows
        elif pool.kind == "mean_rows":
            select = self.plan[pool.inputs[1]].inputs[0]  # before columns for the prompt were put in
            self._call(pool, Call(f"mean_rows_{pool.id}", "pooling.mean_rows", (rows, self.names[select])))
        else:
            self._call(pool, Call(f"{pool.kind}_{pool.id}", "pooling.first_row", (rows,)))

    def _outputs(self) -> None:
        outputs = {output.name: output for output in self.plan.outputs}
        self.program.loss = self.names[outputs["loss"].value]
        self.program.logits = self.names[outputs["logits"].value]
        self.program.num_labels = self.plan[outputs["logits"].value].shape[-1]


def _same_layer(previous: Value, affine: Value, layer: Value) -> bool:
    attrs = [{k: v for k, v in x.attrs.items() if k != "layer"} for x in (previous, layer)]
    return (
        affine.inputs == (previous.id,) and attrs[0] == attrs[1] and previous.inputs[1:] == layer.inputs[1:]
        and previous.shape == layer.shape and previous.stage == layer.stage
    )  # fmt: skip
