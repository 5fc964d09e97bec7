"""The fixed-point oracle as an engine: what the parties compute up to their truncation noise, without parties.

Tokens' lower layers are computed once a set, weights' products by the VM's own matrix kernel, functions of few opened
bits from tables. Every ring element is still the oracle's (`codegen/ring/oracle.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf

import numpy as np
from secfwt.codegen.compile import Compiled, encoded_weights
from secfwt.codegen.native.simulator import ring_matmul
from secfwt.codegen.plan.graph import CLASS_MEANS, Stage
from secfwt.codegen.ring.encoding import Words, decode, encode
from secfwt.codegen.ring.oracle import Machine
from secfwt.codegen.ring.program import RingProgram, RingValue
from secfwt.codegen.series.fits import Fit
from secfwt.runtime.engine import Batch, Floats
from secfwt.runtime.tuning.clear import InProcessEngine

TILE = 64
"""Examples whose logits are computed at once."""
TABLE_BITS = 16
"""Functions of a phase of at most that many bits are looked up."""
PHASES = np.arange(1 << TABLE_BITS, dtype=np.int64)[:, None] << np.int64(64 - TABLE_BITS)
Values = dict[int, Words]


class TabledMachine(Machine):
    """The oracle's machine, faster."""

    def __init__(self, fits: list[Fit], inputs: Mapping[str, Words]) -> None:
        super().__init__(fits, inputs)
        self._tables: Values = {}

    def product(self, a: Words, b: Words) -> Words:
        """a @ b mod 2^64; batch axes in front."""
        if a.ndim > 2:  # attention's small products: int64 wraps as the ring does
            return np.matmul(a, b)
        return ring_matmul(a.view(np.uint64), b.view(np.uint64)).view(np.int64)

    def run(self, v: RingValue, *args: Words) -> Words:
        """The value of one operation, given its inputs'."""
        return self._looked_up(v, *args) if self._opened_bits(v) <= TABLE_BITS else super().run(v, *args)

    def _opened_bits(self, v: RingValue) -> float:
        """Bits of the phase that the value is a function of; infinite for all other operations."""
        if v.kind == "fourier":
            return self.fits[v.attrs["fit"]].format.phase_bits
        return float(v.attrs["k"]) if v.kind == "cos_sin" else inf

    def _looked_up(self, v: RingValue, a: Words) -> Words:
        if v.id not in self._tables:
            self._tables[v.id] = super().run(v, PHASES)
        index = a.view(np.uint64) >> np.uint64(64 - TABLE_BITS)
        return np.concatenate([column[index] for column in self._tables[v.id].T], axis=-1)


class FixedPointEngine(InProcessEngine[list[Values]]):
    """The fixed-point oracle of a compiled model."""

    name = "fixed-point oracle (not private)"

    def __init__(self, compiled: Compiled) -> None:
        super().__init__()
        self._ring = compiled.ring
        self._outputs = {output.name: output.value for output in self._ring.outputs}
        self.weights: dict[str, Words] = encoded_weights(compiled)
        self._machine = TabledMachine(compiled.ring.fits, dict(self.weights))
        self._kept: Values = {v.id: np.zeros((1, 1, *v.shape), np.int64) for v in compiled.ring.inputs("kept")}
        self._machine.inputs |= {compiled.ring[i].attrs["name"]: words[0, 0] for i, words in self._kept.items()}
        self._setup = evaluated(self._ring, self._machine, {}, self._later(Stage.SETUP))

    def load_examples(self, name: str, batch: Batch) -> None:
        """Encode a set, in tiles, and compute what does not depend on a candidate."""
        words = {v.attrs["name"]: encode(batch.inputs[v.attrs["name"]], v.scale) for v in self._ring.inputs("example")}
        self._sets[name], early = [], self._later(Stage.EXAMPLE)
        with self._timed():
            for start in range(0, len(batch), TILE):
                self._machine.inputs |= {key: value[start : start + TILE] for key, value in words.items()}
                self._sets[name].append(evaluated(self._ring, self._machine, self._setup, early))

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate, z `[C, d]` -> `[C]`; sets of at most `TILE` examples."""
        if len(self._sets[name]) != 1:
            raise ValueError(f"{name} has more than {TILE} examples: their loss is not one step's")
        self._cost.steps += 1
        return np.array([self._run(name, row, "loss").item() for row in z])

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of one set under one prompt, z `[d]` -> `[E, L]`."""
        return self._run(name, z, "logits").reshape(-1, self._ring[self._outputs["logits"]].size)

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Keep the mean embedding of each label's examples of a set under one prompt, z `[d]`, times the shots' weight
        in z, or add it to what is kept."""
        (output,) = (o for o in self._ring.outputs if o.name == CLASS_MEANS)
        assert output.keep is not None
        means = np.sum(self._words(name, z, output.value), axis=0)
        self._kept = {output.keep: means + self._kept[output.keep] if add else means}

    def _run(self, name: str, z: Floats, output: str) -> Floats:
        wanted = self._outputs[output]
        return decode(np.concatenate(self._words(name, z, wanted), axis=1), self._ring[wanted].scale)

    def _words(self, name: str, z: Floats, wanted: int) -> list[Words]:
        """A value under one candidate, of every tile of a set."""
        given = self._ring.inputs("candidate")
        parts = np.split(z[None], np.cumsum([v.size for v in given])[:-1], axis=1)
        for v, part in zip(given, parts, strict=True):
            self._machine.inputs |= {v.attrs["name"]: encode(part, v.scale)}
        with self._timed():
            return [
                evaluated(self._ring, self._machine, early | self._kept, {wanted})[wanted] for early in self._sets[name]
            ]

    def _later(self, stage: Stage) -> set[int]:
        """Values up to `stage` that values beyond it read."""
        beyond = [v for v in self._ring if (v.stage | stage) != stage]
        return {i for v in beyond for i in v.inputs if (self._ring[i].stage | stage) == stage}


def evaluated(ring: RingProgram, machine: Machine, known: Values, wanted: set[int]) -> Values:
    """`known` and what it does not hold of the `wanted` values; each value is dropped after its last use."""
    needed, todo = set(), [i for i in wanted if i not in known]
    while todo:
        i = todo.pop()
        if i not in needed:
            needed.add(i)
            todo += [j for j in ring[i].inputs if j not in known]
    uses = Counter(j for i in needed for j in set(ring[i].inputs))
    values = dict(known)
    with np.errstate(over="ignore"):
        for i in sorted(needed):
            v = ring[i]
            values[i] = machine.run(v, *(values[j] for j in v.inputs))
            for j in set(v.inputs) - wanted - known.keys():
                uses[j] -= 1
                if not uses[j]:
                    del values[j]
    return values
