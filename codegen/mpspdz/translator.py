"""What translating any operation needs: calls in the two stages, and the containers that they read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..plan.graph import Plan, Stage, Value
from ..series.ranges import Ranges
from .attention import Attention
from .containers import folded_away, weight_container
from .options import MpSpdzOptions
from .program import Axis, Call, Container, MpcProgram, Ref


class Translator:
    """A program in the making; `refs` has what later calls read of a value."""

    def __init__(self, plan: Plan, options: MpSpdzOptions) -> None:
        self.plan = plan
        self.options = options
        self.ranges = Ranges(plan.meta.get("calibration", {}))
        self.attention = Attention(self.ranges, options.protocol)
        self.program = MpcProgram()
        self.refs: dict[int, Ref] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Of results that are kept by layer."""
        self.chosen = {v.inputs[2] for v in plan if reads_some(v)}
        """Rows that a layer is computed for."""
        self.has_candidates = bool(plan.inputs("candidate"))

    def call(self, v: Value, kernel: str, **keywords: Any) -> None:
        """A call on the value's inputs, then its weights in the plan's order."""
        self.result(v, v.kind, kernel, *(self.refs[i] for i in v.inputs), *self.weights(v), **keywords)

    def result(
        self, v: Value, kind: str, kernel: str, *arguments: Ref, more: tuple[str, ...] = (), **keywords: Any
    ) -> None:
        """A call whose result is the value; the program calls it `kind` and its number in the plan as built."""
        name = f"{'reads' if v.id in self.chosen else kind}_{v.number}"
        # as soon as examples arrive, if it can be; without candidates there is no later
        loaded = self.has_candidates and v.stage == Stage.EXAMPLE
        calls = self.program.load if loaded else self.program.evaluate
        calls.append(Call(name, kernel, arguments, tuple(keywords.items()), more))
        self.refs[v.id] = Ref(name)

    def weights(self, v: Value) -> list[Ref]:
        """Containers of a value's own weights."""
        made = [
            replace(self.container(v, role, (name,)), name=name.replace(".", "_")) for role, name in v.weights.items()
        ]
        self.program.weights += made
        return [Ref(container.name) for container in made]

    def container(self, v: Value, role: str, sources: tuple[str, ...]) -> Container:
        """Of one role of a value's weights, without a name."""
        return weight_container(self.plan, v, role, sources, self.options.fraction_bits)

    def stack(self, layers: list[Value]) -> str:
        """Containers of equal layers' weights, layer behind layer; returns the name that the program has for them."""
        first = layers[0]
        name = f"layers_{first.attrs['layer']}"
        containers = {
            role: self.container(first, role, tuple(v.weights[role] for v in layers))
            for role in first.weights if not folded_away(first, role)
        }  # fmt: skip
        self.program.stacks[name] = {
            role: replace(c, name=role, shape=(len(layers), *c.shape)) for role, c in containers.items()
        }
        return name

    def candidate_rows(self, v: Value) -> Ref:
        """A container for A·z of one prompt: the data owner knows both, and sends the product."""
        z = str(self.plan[v.inputs[0]].attrs["name"])
        number = len(self.program.candidates)
        name = f"{z}_rows" + (f"_{number}" if number else "")
        shape = (self.program.popsize, 1, *v.shape)
        self.program.candidates.append(Container(name, shape, (z,), self.options.fraction_bits))
        return Ref(name, Axis.CANDIDATE)


def reads_some(v: Value) -> bool:
    """Whether a value is an encoder's layer that computes some rows only."""
    return v.kind == "encoder_layer" and len(v.inputs) > 2
