"""The sum over several data owners as the coordinator's engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from ...codegen.plan.graph import UNION_TOTAL, UNION_WEIGHT
from ...codegen.ring.header import ProgramHeader
from ..embedded.engine import EmbeddedEngine
from ..embedded.running import AMONG_OWNERS, session
from ..engine import Batch, Floats, Progress
from ..errors import InputError, ServiceError
from ..parties.deployment import Deployment
from ..progress import Display
from .member import SETS

WAIT = 2.0
"""Seconds between two looks at who has joined: owners join meanwhile."""


class UnionEngine(EmbeddedEngine):
    """Mean losses over the examples of several owners, each example counting alike. Nothing else is opened to the
    coordinator: no owner's loss, and nobody's logits.

    Raises InputError where there are more examples than the program has room for, and as `EmbeddedEngine` does.
    """

    def __init__(
        self, deployment: Deployment, program: ProgramHeader, owners: Sequence[str], progress: Progress
    ) -> None:
        super().__init__(deployment, program, patience=AMONG_OWNERS, progress=progress, role=deployment.coordinator)
        self.name = f"embedded, the sum over {len(owners)} data owners"
        told = dict(zip(deployment.data_owners, self._client.owners, strict=True))
        self.counts = {name: told[name] for name in owners}
        """Examples of every owner: training, dev; 0 where it is not there."""
        self.missing = [name for name, counts in self.counts.items() if 0 in counts]
        """Who has not joined yet."""
        self._owners = sum(1 << deployment.data_owners.index(name) for name in owners)
        totals = [sum(counts) for counts in zip(*self.counts.values(), strict=True)]
        self._sets = {name: (i, total) for i, (name, total) in enumerate(zip(SETS, totals, strict=True))}
        if self.weighed(max(totals)) > UNION_TOTAL:
            self.leave()
            raise InputError(
                f"the data owners have {max(totals)} examples in a set: a sum has room for "
                f"{UNION_TOTAL / UNION_WEIGHT:.0f}; lower their --k-shot"
            )

    @property
    def sizes(self) -> dict[str, int]:
        """Examples of all owners by set."""
        return {name: count for name, (_, count) in self._sets.items()}

    def load_examples(self, name: str, batch: Batch) -> NoReturn:
        """Raises InputError: owners share their own."""
        raise InputError(f"examples {name}: the coordinator shares none; each data owner does, with secfwt-join")

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate over all owners' examples, z `[C, d]` -> `[C]`, with `--health` `[C, 2]`."""
        return super().losses(name, z) / self.weighed(self.sizes[name])

    @staticmethod
    def weighed(examples: int) -> float:
        """What the weights of so many add up to."""
        return examples * UNION_WEIGHT

    def tell(self, z: Floats) -> None:
        """The last word: the chosen prompt's z `[d]`, as parties get candidates, to every owner that is there. Parties
        get shares of it and pass them on."""
        self._client.tell(self._owners, self._candidates(z[None], "the chosen prompt"))


@contextmanager
def gathered(
    deployment: Deployment, program: ProgramHeader, owners: Sequence[str], display: Display, own: str | None = None
) -> Iterator[UnionEngine]:
    """The engine once all these owners have joined, however long that takes.

    `own`: who of them the coordinator is, which has joined. Raises ServiceError if it is not there any more.
    """
    said: list[str] = []
    while (engine := UnionEngine(deployment, program, owners, display.part)).missing:
        engine.leave()
        if own in engine.missing:
            raise ServiceError(0, "lost", f"{own}'s own examples are no longer here: start again")
        if engine.missing != said:
            display.note(f"waits    for {', '.join(engine.missing)} (secfwt-join)")
            said = engine.missing
        time.sleep(WAIT)
    with session(engine):
        yield engine
