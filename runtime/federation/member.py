"""A data owner who takes part: it shares its examples, stays connected, and hears of every opening they are in."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...codegen.plan.graph import UNION_WEIGHT
from ...codegen.ring.arithmetic import signed
from ...codegen.ring.header import ProgramHeader
from ..embedded.engine import EmbeddedEngine
from ..embedded.running import AMONG_OWNERS
from ..engine import Batch, Floats, Progress
from ..parties.connection import Frame
from ..parties.deployment import Deployment
from ..parties.sharing import decode

SETS = ("train", "dev")
"""What every owner shares, under the numbers 0 and 1."""


@dataclass(frozen=True)
class Opening:
    """What the parties have agreed to open to the coordinator: sums of losses, one per candidate, that this owner's
    examples are in."""

    output: str
    set: str
    candidates: int
    examples: int
    """In the sum."""
    owners: tuple[str, ...]
    opened: int
    """Sums of this output since the weights arrived, these among them."""


@dataclass(frozen=True)
class Prompt:
    """The coordinator's last word: the vector that it has chosen, as parties get it, `[d]`."""

    coordinates: Floats


class Member(EmbeddedEngine):
    """One session of a data owner among several: `join` first, then nothing but `listen`.

    Its examples are with the parties for as long as this is open. Raises as `EmbeddedEngine` does.
    """

    def __init__(
        self,
        deployment: Deployment,
        program: ProgramHeader,
        owner: str,
        *,
        progress: Progress = lambda done, total: None,
    ) -> None:
        super().__init__(deployment, program, patience=AMONG_OWNERS, progress=progress, role=owner)
        self._deployment = deployment
        told = self._client.owners
        own = told[deployment.data_owners.index(owner)] if owner == deployment.coordinator else told[0]
        self.elsewhere = own if all(own) else None
        """Examples by set that this owner has joined with on another connection; they are withdrawn by `join`."""

    @property
    def opened(self) -> int:
        """Sums since the weights arrived, where the program limits them."""
        (losses,) = (output for output in self.program.outputs if output.min_owners)
        left = self.left(losses.name)
        return 0 if left is None or losses.max_opened is None else losses.max_opened - left

    def join(self, sets: Mapping[str, Batch]) -> None:
        """Share examples, and stay."""
        for name in SETS:
            self.load_examples(name, weighted(sets[name]))
        self._client.join()

    def leave(self) -> None:
        """Take the examples away; whoever listens in another thread gets a ServiceError."""
        self._client.abort()
        super().leave()

    def listen(self) -> Opening | Prompt:
        """The next that happens to this owner's examples, however long that takes. Raises ServiceError when a party is
        gone, or does not want them any more."""
        specs = self.program.of_kind("candidate")
        kind, argument, payloads = self._client.listen(8 * sum(spec.size for spec in specs))
        if kind == Frame.NOTICE:
            number, candidates, examples, owners, opened = struct.unpack("<5Q", payloads[0])
            names = tuple(n for i, n in enumerate(self._deployment.data_owners) if owners >> i & 1)
            name = SETS[number] if number < len(SETS) else str(number)
            return Opening(self.program.outputs[argument].name, name, candidates, examples, names, opened)
        x0, x1, x2 = (np.frombuffer(each, np.uint64) for each in payloads)
        words = np.split((x0 + x1 + x2).view(np.int64), np.cumsum([spec.size for spec in specs])[:-1])
        parts = [decode(signed(part, spec.ring), spec.scale) for part, spec in zip(words, specs, strict=True)]
        return Prompt(np.concatenate(parts))


def weighted(batch: Batch) -> Batch:
    """Each example with the weight that it has in a sum over several owners' examples."""
    return replace(batch, inputs=batch.inputs | {"example_weight": np.full((len(batch), 1), UNION_WEIGHT)})
