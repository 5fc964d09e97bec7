"""The split engine: the data owner computes the public base, and what a private adapter adds is asked of its server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...codegen.model.options import GenOptions
from ...codegen.model.spec import ModelSpec
from ...codegen.model.weights import Weights
from ...codegen.owners.embed import Embedder
from ...codegen.owners.prepare import made_by_layers
from ...codegen.plan.graph import Plan
from ...codegen.plan.oracle import Examples
from ..engine import Batch, Cost, Floats, Left
from .asking import Asking
from .client import AdapterClient


class SplitEngine:
    """`Engine` without computing parties. What depends on examples alone is asked about once a set."""

    name = "split: base here, adapter at its server"
    private = True

    def __init__(
        self,
        client: AdapterClient,
        spec: ModelSpec,
        options: GenOptions,
        plan: Plan,
        weights: Weights,
        embedder: Embedder,
    ) -> None:
        """`weights`: the base's."""
        self._client = client
        self._asking = Asking(client)
        self._plan = plan
        self._weights = weights | made_by_layers(spec, options, weights, embedder, self._asking.added)
        self._sets: dict[str, Examples] = {}
        self._steps = 0

    def load_examples(self, name: str, batch: Batch) -> None:
        """Compute what depends on examples alone, and keep it under a name."""
        self._sets[name] = Examples(
            self._plan, self._weights, batch.inputs, added=self._asking.added, dtype=np.float32, keep=True
        )

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate, z `[C, d]` -> `[C]`."""
        return self._run(name, z, "loss")

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of one set under one prompt, z `[d]` -> `[E, L]`."""
        return np.asarray(self._run(name, z[None], "logits")[0])

    def allowance(self) -> Left:
        """The server counts rows, not losses."""
        return Left()

    def cost(self) -> Cost:
        """Bytes in both directions, and a round for every question."""
        return replace(self._client.cost(), steps=self._steps)

    def close(self) -> None:
        """Forget the examples; the connection is closed by whoever opened it."""
        self._sets.clear()

    def _run(self, name: str, z: Floats, output: str) -> Floats:
        outputs = self._sets[name].outputs({"z": z})
        self._steps += 1
        return np.asarray(outputs[output], np.float64)
