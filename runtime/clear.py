"""The clear engine: the model plan in float64 numpy, in one process. No privacy: for tests and choosing defaults."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..codegen.oracle_float import run_plan
from ..codegen.plan import Plan
from .engine import Batch, Cost, Floats


class ClearEngine:
    """Engine that sees weights and examples. Nothing is secret, nothing is sent."""

    name = "clear (not private)"
    private = False

    def __init__(self, plan: Plan, weights: Mapping[str, Floats]) -> None:
        self._plan = plan
        self._weights = weights
        self._sets: dict[str, Batch] = {}
        self._cost = Cost()

    def load_examples(self, name: str, batch: Batch) -> None:
        """Keep a set under a name."""
        self._sets[name] = batch

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate, z `[C, d]` -> `[C]`."""
        return self._run(name, z, "loss")

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of one set under one prompt, z `[d]` -> `[E, L]`."""
        logits: Floats = self._run(name, z[None], "logits")[0]
        return logits

    def cost(self) -> Cost:
        """Seconds and steps so far; nothing is sent."""
        return replace(self._cost, peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

    def close(self) -> None:
        """Forget the examples."""
        self._sets.clear()

    def _run(self, name: str, z: Floats, output: str) -> Floats:
        began = time.monotonic()
        outputs = run_plan(self._plan, self._weights, {**self._sets[name].inputs, "z": z})
        self._cost.seconds += time.monotonic() - began
        self._cost.steps += 1
        return np.asarray(outputs[output], dtype=np.float64)
