"""What every operation of the float oracle has at hand: weights, whoever observes, and the parts of layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..series.softmax import PLATEAU
from .graph import Value

Array = NDArray[np.float64]
Observer = Callable[[str, Array], None]
Added = Callable[[str, Array], Array | None]
"""What somebody else's part adds to rows `[…, in]` times the matrix of a name, `[…, out]`; None: it has none there."""

LEAST_SUM = 1e-30
"""Of a row's weights by squared ReLU features, which may all be 0."""


class Execution:
    """Weights, an observer, and what layers are made of; arrays are `[c, e, *shape]`."""

    def __init__(self, weights: dict[str, Array], observe: Observer | None, added: Added | None = None) -> None:
        self._weights = weights
        self._observe = observe
        self._added = added
        self.kept: dict[str, Array] = {}
        """By name: what was kept of earlier steps, `[*shape]`."""
        self.memory: dict[int, Array] = {}
        """By id of a `recall`: the rows of all steps so far, `[c, e, N, h]`."""
        self.at = 0
        """The row that a step begins with."""

    def _weight(self, v: Value, role: str) -> Array:
        return self._weights[v.weights[role]]

    def _see(self, site: str, values: Array, live: Array | None = None) -> None:
        """Report values `[c, e, rows, ...]` of the rows that `live` `[c, e, rows]` marks, or all."""
        if self._observe is None:
            return
        if live is not None:
            values = values[np.broadcast_to(live > 0, values.shape[:3])]
        self._observe(site, values.reshape(-1))

    def _linear(self, v: Value, name: str, x: Array) -> Array:
        weight = self._weight(v, f"{name}.weight")
        y = x.reshape(-1, x.shape[-1]) @ weight.T
        y += self._weight(v, f"{name}.bias")
        y = y.reshape(*x.shape[:-1], len(weight))
        more = self._added(v.weights[f"{name}.weight"], x) if self._added is not None else None
        if more is not None:
            y += more
        return y

    def _normalise(self, x: Array, eps: float, site: str, live: Array | None) -> Array:
        """Layer norm without its affine part; overwrites x. Without a site nothing is reported."""
        x -= x.mean(axis=-1, keepdims=True)
        variance = np.square(x).mean(axis=-1, keepdims=True)
        if site:
            self._see(f"{site}_var", variance, live)
        x /= np.sqrt(variance + eps)
        return x

    def _heads(self, v: Value, x: Array) -> Array:
        """`[c, e, T, H·D]` to `[c, e, H, T, D]`."""
        return np.moveaxis(x.reshape(*x.shape[:-1], v.attrs["heads"], -1), -2, -3)

    def _see_scores(
        self, v: Value, site: str, reads: Array, live: Array | None, scores: Array, log_sum: Array,
        log_keys: Array | None = None,
    ) -> None:  # fmt: skip
        """Report each row's log-sum-exp; and, once there are estimates of it, scores less the estimate and the sums of
        the weights that they make, as the parties compute them. `log_keys` `[c, e, R]`: the logarithm of the number of
        keys that a row sees, where its estimate knows it."""
        assert self._observe is not None
        counted = log_keys if "log_sum.keys" in v.weights else None
        if counted is not None:
            self._see(f"{site}.log_keys", counted, live)
        self._see(f"{site}.log_sum", np.moveaxis(log_sum[..., 0], -2, -1), live)
        if v.weights["log_sum.weight"] not in self._weights:
            return
        estimate = self._linear(v, "log_sum", reads)
        if counted is not None:
            estimate += counted[..., None] * self._weight(v, "log_sum.keys")
        centred = scores - np.moveaxis(estimate, -1, -2)[..., None]
        kept = np.isfinite(centred)
        if live is not None:
            kept &= live[:, :, None, :, None] > 0
        self._observe(f"{site}.score", centred[kept])
        sums = np.exp(np.minimum(centred, PLATEAU)).sum(axis=-1)
        self._see(f"{site}.row_sum", np.moveaxis(sums, -2, -1), live)

    def _joined(self, x: Array) -> Array:
        """`[c, e, H, T, D]` to `[c, e, T, H·D]`."""
        x = np.moveaxis(x, -3, -2)
        return x.reshape(*x.shape[:-2], -1)


def squared_relu(u: Array) -> Array:
    """φ of squared ReLU features: max(0, u)², then max(0, -u)²."""
    return np.asarray(np.square(np.concatenate([np.maximum(u, 0), np.maximum(-u, 0)], axis=-1)))
