"""The model owner's estimate of a row's log-sum-exp, for softmax attention in the ring (`lowering/softmax.py`).

Per layer and head, ridge least squares from the rows that enter the layer to log Σ_j e^(q_i·k_j/√D), on public text.
Where texts are continued, the logarithm of the number of keys j is a column beside a row's: a sum of n equal terms is
log n larger than one of them, and n grows with every token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.weights import Weights
from ..plan.graph import LAYERS, Plan
from ..plan.oracle import run_plan

Array = NDArray[Any]
RIDGE = 1e-3
"""Of the rows' mean variance: ten thousand rows of MiniLM give the same estimates with a tenth or ten times as much."""


@dataclass
class _Sums:
    """Moments of one layer's rows x `[n, h]` and log-sum-exps y `[n, H]`: what least squares needs, batch by batch."""

    rows: Array | None = None
    log_keys: Array | None = None
    """`[n, 1]`, where it is a column of x."""
    count: int = 0
    x: Array = field(default_factory=lambda: np.zeros(0))
    y: Array = field(default_factory=lambda: np.zeros(0))
    xx: Array = field(default_factory=lambda: np.zeros(0))
    xy: Array = field(default_factory=lambda: np.zeros(0))

    def add(self, x: Array, y: Array) -> None:
        x, y = x.astype(np.float64), y.astype(np.float64)
        new = (x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y)
        old = (self.x, self.y, self.xx, self.xy) if self.count else (0.0,) * 4
        self.x, self.y, self.xx, self.xy = (np.asarray(a + b) for a, b in zip(old, new, strict=True))
        self.count += len(x)

    def solve(self) -> tuple[Array, Array]:
        """Weight `[H, h]` and bias `[H]`."""
        mean_x, mean_y = self.x / self.count, self.y / self.count
        covariance = self.xx / self.count - np.outer(mean_x, mean_x)
        covariance[np.diag_indices_from(covariance)] += RIDGE * covariance.trace() / len(covariance)
        weight = np.linalg.solve(covariance, self.xy / self.count - np.outer(mean_x, mean_y)).T
        return weight, mean_y - weight @ mean_x


def log_sums(plan: Plan, weights: Mapping[str, Array], batches: Iterable[Mapping[str, Array]]) -> Weights:
    """`layers.i.log_sum.weight` `[H, h]` and `.bias` `[H]` of every layer of a plan with softmax attention, float32;
    and `.keys` `[H]`, the factor of the logarithm of the number of keys, where the plan has that."""
    sums: dict[str, _Sums] = {}
    layers = [v for v in plan if v.kind in LAYERS]
    heads = {f"layers.{v.attrs['layer']}": v.attrs["heads"] for v in layers}
    hidden = {f"layers.{v.attrs['layer']}": v.shape[-1] for v in layers}

    def observe(site: str, values: Array) -> None:
        layer, _, what = site.rpartition(".")
        if what == "hidden":
            sums.setdefault(layer, _Sums()).rows = values.reshape(-1, hidden[layer])
        elif what == "log_keys":
            sums[layer].log_keys = values.reshape(-1, 1)
        elif what == "log_sum":
            each = sums[layer]
            assert each.rows is not None
            x = each.rows if each.log_keys is None else np.concatenate([each.rows, each.log_keys], axis=1)
            each.add(x, values.reshape(-1, heads[layer]))

    for inputs in batches:
        run_plan(plan, weights, inputs, observe=observe, dtype=np.float32)
    result: Weights = {}
    for layer, each in sums.items():
        weight, bias = each.solve()
        if each.log_keys is not None:
            result[f"{layer}.log_sum.keys"] = weight[:, -1].astype(np.float32)
            weight = weight[:, :-1]
        result[f"{layer}.log_sum.weight"] = weight.astype(np.float32)
        result[f"{layer}.log_sum.bias"] = bias.astype(np.float32)
    return result
