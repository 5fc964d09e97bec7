"""How far each neuron of a feed-forward network goes on public text: what its class of intervals is chosen by
(`series/classes.py`). It is a function of weights, and stays with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.weights import Weights, reach_name
from ..plan.graph import LAYERS, Plan

LEAST_ROWS = 2048
"""Fewer rows show too little of a neuron. MiniLM on AG News, SST-2 and MRPC: of 1,700 rows of other text follow
intervals with 2 of 10^5 values beyond them at most, a tenth of what calibration leaves out on purpose."""


class Reaches:
    """Sees what a plan's neurons see, batch by batch."""

    def __init__(self, plan: Plan) -> None:
        self._layers = {
            f"layers.{v.attrs['layer']}.activation": (v.attrs["layer"], v.attrs["intermediate"])
            for v in plan if v.kind in LAYERS
        }  # fmt: skip
        self._rows: dict[int, int] = {}
        self._reach: dict[int, NDArray[Any]] = {}

    def see(self, site: str, values: NDArray[Any]) -> None:
        """Observe a plan's run (`plan.oracle.run_plan`)."""
        if site not in self._layers:
            return
        layer, inner = self._layers[site]
        rows = values.reshape(-1, inner)
        reach = np.maximum(rows.max(axis=0, initial=0.0), -rows.min(axis=0, initial=0.0))
        self._rows[layer] = self._rows.get(layer, 0) + len(rows)
        self._reach[layer] = np.maximum(self._reach.get(layer, reach), reach)

    def weights(self) -> Weights:
        """The largest magnitude of each neuron's input, `[inner]`, of layers that have seen enough rows."""
        return {
            reach_name(layer): reach.astype(np.float32)
            for layer, reach in self._reach.items() if self._rows[layer] >= LEAST_ROWS
        }  # fmt: skip
