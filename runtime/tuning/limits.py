"""What a loss or logit of a program can be, so that one that cannot is noticed: values have left the ranges that the
program's series were fitted on, where a series is periodic and its result looks like any other number.

With differences of L logits within ±w:

    0 <= cross entropy <= log(1 + (L-1) e^w) <= w + log L
    0 <= hinge         <= (L-1) (margin + w)

and so is every weighted mean of losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

import numpy as np
from numpy.typing import NDArray

from ...codegen.lowering.head import LOGIT_ROOM
from ...codegen.mpspdz.options import MpSpdzOptions
from ...codegen.plan.graph import Plan
from ...codegen.series.nonlinear import HINGE_ERROR
from ..engine import Floats

SLACK = 0.05
"""Room at both ends for roundings and the series' errors. A cross entropy is ⌈log2 L⌉ openings deep, each exact to 1e-4
in the embedded engine and to 5e-4 in MP-SPDZ: ten times what 500 labels add up to."""
HINGE_SLACK = 2 * HINGE_ERROR
"""The same for every label of a hinge loss: twice its series' error, for an interval too wide to reach that."""


@dataclass(frozen=True)
class Limits:
    """Smallest and largest loss that can be, largest magnitude of a logit, and most wrong rows per example that
    `health` shows while all values are inside their ranges. The default admits all that is finite."""

    low: float = -inf
    high: float = inf
    logit: float = inf
    health: float = inf

    def admits(self, losses: Floats) -> NDArray[np.bool_]:
        """Which losses can be, as booleans; NaN and infinity cannot."""
        return np.isfinite(losses) & (losses >= self.low) & (losses <= self.high)

    def admits_logits(self, logits: Floats) -> NDArray[np.bool_]:
        """Which examples' logits `[…, L]` can be, `[…]`."""
        inside: NDArray[np.bool_] = np.all(np.isfinite(logits) & (np.abs(logits) <= self.logit), axis=-1)
        return inside

    def __str__(self) -> str:
        """The accepted losses, for messages."""
        high = "" if self.high == inf else f" to {self.high:.4g}"
        return "finite" if self.low == -inf else f"from {self.low:.4g}{high or ' on'}"


def limits(plan: Plan, width: float = inf, health: float | None = None) -> Limits:
    """Limits of a plan's losses and logits. `width`: half the interval of differences of logits that its losses are
    computed on; the head may have a smaller one."""
    (v,) = (value for value in plan if value.kind == "loss")
    head = plan[v.inputs[0]]
    logit, labels = LOGIT_ROOM * head.bound, head.shape[-1]
    width = min(width, 2 * logit)
    if v.attrs["loss"] == "ce":
        low, high = -SLACK, width + log(labels) + SLACK
    else:
        slack = SLACK + labels * HINGE_SLACK
        low, high = -slack, (labels - 1) * (v.attrs["margin"] + width) + slack
    return Limits(low, high, logit, inf if health is None else health)


def mpspdz_width(loss: str, options: MpSpdzOptions) -> float:
    """Largest difference of two logits that a loss of `mpc_programs/lib/losses.py` is right for: twice the largest
    logit in its interval."""
    return 128.0 if loss == "ce" else 2.0 ** (options.value_bits - options.fraction_bits - 2)
