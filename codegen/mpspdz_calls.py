"""Model plan to calls of MP-SPDZ kernels: which kernel, in which order, on which containers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .calibrated import Ranges
from .mpspdz_options import MpSpdzOptions
from .plan import Plan, Stage, Value
from .problems import Report

PHASE_BITS = 32
"""Scale of weights that make phases; their biases are phases, scale 64 (`lib/linear.py`)."""

ENCODER_ATTRS = ("variant", "heads", "features", "floor", "act", "attention_eps", "output_eps")


@dataclass(frozen=True)
class Container:
    """A variable of the program that a client fills, and how the client encodes it: round(value * factor * 2^scale)."""

    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    """Canonical weight names, one a layer where layers are stacked; or the input's name."""
    scale: int
    integer: bool = False
    """Raw ring elements (phases) in place of sfix."""
    transposed: bool = False
    """Sent as `[in, out]`; checkpoints hold `[out, in]`."""
    factor: float = 1.0


@dataclass(frozen=True)
class Call:
    """One line of the program: `result = kernel(arguments, keywords)`."""

    result: str
    kernel: str
    arguments: tuple[str, ...]
    keywords: tuple[tuple[str, Any], ...] = ()


@dataclass
class Program:
    """What the template prints."""

    weights: list[Container] = field(default_factory=list)
    stacks: dict[str, dict[str, Container]] = field(default_factory=dict)
    examples: list[Container] = field(default_factory=list)
    candidates: list[Container] = field(default_factory=list)
    kept: list[Container] = field(default_factory=list)
    """Results of `load` that `evaluate` reads."""
    load: list[Call] = field(default_factory=list)
    evaluate: list[Call] = field(default_factory=list)
    loss: str = ""
    logits: str = ""
    num_labels: int = 0
    popsize: int = 1

    @property
    def inputs(self) -> list[Container]:
        """Containers that the data owner fills."""
        return self.examples + self.candidates

    @property
    def wire(self) -> list[Container]:
        """Weight containers in the order in which the model owner sends them."""
        return self.weights + [c for stack in self.stacks.values() for c in stack.values()]


def translate(plan: Plan, options: MpSpdzOptions) -> Program:
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
        self.program = Program()
        self.names: dict[int, str] = {}
        self.has_candidates = bool(plan.inputs("candidate"))
        position = 0
        while position < len(plan.values):
            position += self._value(position)
        self._outputs()
        self._keep()

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
        kernel, attrs = _KERNELS[value.kind]
        keywords = {name: value.attrs[name] for name in attrs}
        if value.kind == "loss":
            kernel += _LOSSES[value.attrs["loss"]]
            keywords = keywords if value.attrs["loss"] == "hinge" else {}
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
        self.program.popsize = self.plan.meta["options"]["popsize"]
        shape = (self.program.popsize, *value.shape)
        self.program.candidates.append(Container(name, shape, (source.attrs["name"],), self.options.fraction_bits))
        self.names[source.id] = f"{name}[candidate]"

    def _call(self, value: Value, call: Call) -> None:
        group = self.program.load if self._is_loaded(value) else self.program.evaluate
        group.append(call)
        self.names[value.id] = call.result

    def _is_loaded(self, value: Value) -> bool:
        """Whether the value is computed when examples arrive; without candidates there is nothing to wait for."""
        return self.has_candidates and value.stage == Stage.EXAMPLE

    def _weight(self, value: Value, role: str, name: str) -> str:
        variable = name.replace(".", "_")
        container = self._container(value, role, variable, (name,))
        self.program.weights.append(container)
        return variable

    def _container(self, value: Value, role: str, variable: str, sources: tuple[str, ...]) -> Container:
        shape = _weight_shape(value, role, self.plan)
        bits = self.options.fraction_bits
        if role == "features":
            return Container(variable, shape, sources, PHASE_BITS, integer=True, factor=0.15915494309189535)  # 1/2π
        if role.startswith("phase_"):
            scale = PHASE_BITS if role.endswith("weight") else 64
            return Container(variable, shape, sources, scale, integer=True, transposed=len(shape) > 1)
        return Container(variable, shape, sources, bits, transposed=len(shape) > 1 and role != "p0")

    def _stack(self, position: int) -> list[tuple[Value, Value]]:
        """The longest run of (affine, encoder layer) pairs from here whose layers differ in their weights only."""
        layers: list[tuple[Value, Value]] = []
        values = self.plan.values
        while position + 1 < len(values):
            affine, layer = values[position : position + 2]
            if affine.kind != "affine" or layer.kind != "encoder_layer" or layer.inputs[0] != affine.id:
                break
            if layers and not _same_layer(layers[-1][1], affine, layer):
                break
            layers.append((affine, layer))
            position += 2
        return layers

    def _encoder(self, layers: list[tuple[Value, Value]]) -> None:
        affine, first = layers[0]
        last = layers[-1][1]
        stack = f"layers_{first.attrs['layer']}"
        containers: dict[str, Container] = {}
        for role in affine.weights:
            sources = tuple(a.weights[role] for a, _ in layers)
            containers[f"input_norm.{role}"] = self._container(affine, role, "", sources)
        for role in first.weights:
            containers[role] = self._container(first, role, "", tuple(layer.weights[role] for _, layer in layers))
        self.program.stacks[stack] = {
            role: replace(c, name=f'{stack}["{role}"]', shape=(len(layers), *c.shape)) for role, c in containers.items()
        }
        arguments = (self.names[affine.inputs[0]], self.names[first.inputs[1]], stack)
        keywords = {name: first.attrs[name] for name in ENCODER_ATTRS}
        if first.attrs["act"] == "gelu":
            keywords["reach"] = max(self.ranges.half_width(f"layers.{x.attrs['layer']}.gelu") for _, x in layers)
        self._call(last, Call(f"encoder_{last.id}", "encoder.encoder_stack", arguments, tuple(keywords.items())))

    def _outputs(self) -> None:
        outputs = {output.name: output for output in self.plan.outputs}
        self.program.loss = self.names[outputs["loss"].value]
        self.program.logits = self.names[outputs["logits"].value]
        self.program.num_labels = self.plan[outputs["logits"].value].shape[-1]

    def _keep(self) -> None:
        """Give `evaluate` the results of `load` that it reads, as containers over all tiles."""
        made = {call.result: call for call in self.program.load}
        values = {self.names[v.id]: v for v in self.plan if v.id in self.names}
        needed = {a for call in self.program.evaluate for a in call.arguments if a in made}
        bits, batch = self.options.fraction_bits, (self.options.tiles, self.options.tile)
        self.program.kept = [Container(n, (*batch, *values[n].shape), (n,), bits) for n in made if n in needed]
        self.program.evaluate = [
            replace(call, arguments=tuple(f"kept_{a}[tile]" if a in needed else a for a in call.arguments))
            for call in self.program.evaluate
        ]


def _same_layer(previous: Value, affine: Value, layer: Value) -> bool:
    attrs = [{k: v for k, v in x.attrs.items() if k != "layer"} for x in (previous, layer)]
    return (
        affine.inputs == (previous.id,) and attrs[0] == attrs[1] and previous.inputs[1:] == layer.inputs[1:]
        and previous.shape == layer.shape and previous.stage == layer.stage
    )  # fmt: skip


def _weight_shape(value: Value, role: str, plan: Plan) -> tuple[int, ...]:
    """Shape of one weight as the program holds it: matrices `[in, out]`."""
    attrs, width = value.attrs, value.shape[-1]
    if value.kind == "prompt":
        return value.shape
    if value.kind in ("dense", "cosine"):
        return (width,) if role == "bias" else (plan[value.inputs[0]].shape[-1], width)
    if value.kind == "affine":
        return (width,)
    heads, size, angles = attrs["heads"], attrs["head_dim"], attrs["heads"] * attrs["features"]
    if role == "features":
        return (heads, attrs["features"], size)
    if role.startswith("attention_norm"):
        return (width,)
    name, part = role.split(".")
    inner = attrs["intermediate"]
    phase = (width, angles)
    sizes = {"ffn_in": (width, inner), "ffn_out": (inner, width), "phase_query": phase, "phase_key": phase}
    matrix = sizes.get(name, (width, width))
    return matrix if part == "weight" else matrix[1:]
