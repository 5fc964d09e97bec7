"""Engines without parties and without privacy, for tests and choosing defaults; the clear one is float64 numpy."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from ...codegen.plan.execution import Added
from ...codegen.plan.graph import CLASS_MEANS, LOSS_HEALTH, Plan
from ...codegen.plan.oracle import OnExamples
from ..engine import Batch, Cost, Floats, Left
from ..errors import InputError

Set = TypeVar("Set")
"""What an engine keeps of a set of examples."""

KEPT_BYTES = 1 << 30
"""Of a set, what no candidate changes: computed once where it is no more."""


class InProcessEngine(Generic[Set]):
    """Base of an `Engine` that computes in this process. Nothing is secret, nothing is sent."""

    private = False

    def __init__(self) -> None:
        self._sets: dict[str, Set] = {}
        self._cost = Cost()

    def allowance(self) -> Left:
        """Nothing is limited."""
        return Left()

    def cost(self) -> Cost:
        """Seconds and steps so far; nothing is sent."""
        return replace(self._cost, peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

    def close(self) -> None:
        """Forget the examples."""
        self._sets.clear()

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Raises InputError: an engine that keeps something says so by a method of its own."""
        raise InputError(f"{type(self).__name__} keeps nothing from step to step: --prototype-shots is not for it")

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._cost.seconds += time.monotonic() - began


class ClearEngine(InProcessEngine[OnExamples]):
    """The model plan in float64."""

    name = "clear (not private)"

    def __init__(self, plan: Plan, weights: Mapping[str, Floats], added: Added | None = None) -> None:
        """`added`: what somebody else's part adds (`run_plan`)."""
        super().__init__()
        self._plan = plan
        self._weights = weights
        self._added = added
        self._kept: dict[str, Floats] = {}

    def load_examples(self, name: str, batch: Batch) -> None:
        """Keep a set under a name."""
        self._sets[name] = OnExamples(self._plan, self._weights, batch.inputs, added=self._added, kept_bytes=KEPT_BYTES)

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate, z `[C, d]` -> `[C]`."""
        names = [output.name for output in self._plan.outputs]
        return self._run(name, z, LOSS_HEALTH if LOSS_HEALTH in names else "loss")

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of one set under one prompt, z `[d]` -> `[E, L]`."""
        logits: Floats = self._run(name, z[None], "logits")[0]
        return logits

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Keep the mean embedding of each label's examples of a set under one prompt, z `[d]`, times the shots' weight
        in z, or add it to what is kept."""
        means = self._run(name, z[None], CLASS_MEANS)[0]
        self._kept = {CLASS_MEANS: means + self._kept[CLASS_MEANS] if add else means}

    def _run(self, name: str, z: Floats, output: str) -> Floats:
        given = self._plan.inputs("candidate")
        parts = np.split(z, np.cumsum([v.size for v in given])[:-1], axis=1)
        candidates = {v.attrs["name"]: part for v, part in zip(given, parts, strict=True)}
        with self._timed():
            outputs = self._sets[name].run({**self._kept, **candidates})
        self._cost.steps += 1
        return np.asarray(outputs[output], dtype=np.float64)
