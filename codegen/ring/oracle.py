"""A ring program in numpy on Z_2^64, without parties: what the embedded VM computes, up to its truncation and rounding
noise.

Truncation rounds to nearest (the VM: ±1.5 units), fitted functions are evaluated at the opened phase's resolution and
rounded once (the VM: rounding of every harmonic). Everything else is exact in each value's ring. What parties add to
an output that has noise is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..plan.graph import Stage
from .arithmetic import Arithmetic, signed
from .encoding import Words
from .operations import OPERATIONS
from .program import WORD, RingProgram, RingValue


def run_program(
    program: RingProgram, inputs: Mapping[str, Words], outputs: tuple[str, ...] | None = None
) -> dict[str, Words]:
    """Evaluate outputs of a ring program.

    `inputs`: ring elements by name: weights `[*shape]`, examples `[E, *shape]`, candidates `[C, *shape]`. Returns ring
    elements, `[C, *shape]` for candidate outputs, `[C, E, *shape]` for pair outputs. Raises ValueError for an input of
    another shape, KeyError for one that is missing.
    """
    machine = Machine(program.fits, inputs)
    wanted = {o.name: o.value for o in program.outputs if outputs is None or o.name in outputs}
    last = {i: v.id for v in program for i in v.inputs}
    values: dict[int, Words] = {}
    with np.errstate(over="ignore"):
        for v in program:
            values[v.id] = machine.run(v, *(values[i] for i in v.inputs))
            for i in {*v.inputs, v.id} - {*wanted.values()}:
                if last.get(i, i) == v.id:  # a large model's values take gigabytes
                    del values[i]
    return {name: values[i] if program[i].stage & Stage.EXAMPLE else values[i][:, 0] for name, i in wanted.items()}


class Session:
    """A program whose steps leave states, on one set of examples: one step after the other."""

    def __init__(self, program: RingProgram, inputs: Mapping[str, Words]) -> None:
        """`inputs`: weights and examples, as for `run_program`."""
        self._program = program
        self._machine = Machine(program.fits, inputs)
        self._values: dict[int, Words] = {}
        self._evaluate(self._values, Stage.EXAMPLE)

    def example(self, output: str) -> Words:
        """An output of the example stage, `[E, *shape]`."""
        found: Words = self._values[self._program.opened(output)][0]
        return found

    def step(self, output: str, inputs: Mapping[str, Words], at: int) -> Words:
        """An output of a step, `[C, E, *shape]`, given its candidates; rows are appended from row `at` on."""
        self._machine.inputs = {**self._machine.inputs, **inputs}
        self._machine.at = at
        values = {i: x for i, x in self._values.items() if self._program[i].kind != "state"}
        self._evaluate(values, Stage.PAIR)
        return values[self._program.opened(output)]

    def _evaluate(self, values: dict[int, Words], stage: Stage) -> None:
        with np.errstate(over="ignore"):
            for v in self._program:
                if v.id not in values and v.stage | stage == stage:
                    values[v.id] = self._machine.run(v, *(values[i] for i in v.inputs))


class Machine(Arithmetic):
    """Computes one value after the other; arrays are `[c, e, *shape]`."""

    def run(self, v: RingValue, *args: Words) -> Words:
        """The value of one operation, given its inputs': a signed number of the value's ring."""
        rank = max((x.ndim for x in args), default=0)
        words: Words = OPERATIONS[v.kind].clear(self, v, *(_of_rank(x, rank) for x in args))
        return words if v.ring == WORD else signed(words, v.ring)


def _of_rank(x: Words, rank: int) -> Words:
    """Instance shapes are aligned at the right, batch axes stay in front."""
    return x if x.ndim == rank else x.reshape(*x.shape[:2], *(1,) * (rank - x.ndim), *x.shape[2:])
