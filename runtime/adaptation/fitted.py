"""The non-linearities as the protocol computes them, in torch: Fourier fits on calibrated intervals, as tables.

A student that trains through these forms learns what will run: a fit's ripple too, and its bend beyond the interval.
So intervals, periods and fits are those of `codegen/lowering`, from the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...codegen.series.activations import ACTIVATIONS
from ...codegen.series.fits import Fit
from ...codegen.series.nonlinear import SLACK, even_part, inverse_root, magnitude, reciprocal
from ...codegen.series.ranges import Ranges
from ...codegen.series.softmax import inverse_sum, sum_period
from .student import Architecture, Forms, Kind

Maker = Callable[[str, Architecture, Ranges, torch.device], Callable[[Tensor], Tensor]]
POINTS = 64
"""Table entries per period of a fit's highest harmonic. Linear interpolation between them errs by less than (π/64)²/2,
1.2e-3 of that harmonic's amplitude."""


class _Curve(torch.autograd.Function):
    """A table of one period, linear between its entries; the gradient is the slope between the two nearest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, per_unit: float) -> Tensor:
        at = x.float() * per_unit
        whole = at.floor()
        index = whole.long().remainder(len(table) - 1)
        low = table[index]
        slope = table[index + 1] - low
        ctx.save_for_backward(slope * per_unit)
        return (low + slope * (at - whole)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope.to(gradient.dtype), None, None


def curve(fit: Fit, period: float, device: torch.device) -> Callable[[Tensor], Tensor]:
    """x ↦ fit(x/period) for x of any shape, by a table on `device`."""
    count = POINTS * max(fit.m)
    values = fit(np.arange(count + 1) / count)
    table = torch.from_numpy(values).float().to(device)
    return lambda x: _Curve.apply(x, table, count / period)  # type: ignore[no-untyped-call]


def fitted_forms(shape: Architecture, ranges: Ranges, device: torch.device) -> Forms:
    """Every non-linearity of the encoder layers, or of a decoder's attention, as its fit on the calibrated interval,
    by site.

    Where `ranges` has nothing for a site, the fit is that of the stated default interval.
    """
    return {
        f"layers.{layer}.{site}": make(f"layers.{layer}.{site}", shape, ranges, device)
        for layer in range(shape.layers)
        for site, make in ((_MAKERS if shape.decoder is None else {}) | _OF_KIND[shape.kind]).items()
    }


def _activation(site: str, shape: Architecture, ranges: Ranges, device: torch.device) -> Callable[[Tensor], Tensor]:
    act = ACTIVATIONS[shape.student_act or shape.act]
    width = ranges.activation_width(site, act.linear_beyond)
    bent = curve(even_part(act.name, width, shape.harmonics), 4 * width, device)
    return lambda u: u / 2 + bent(u)


def _root(site: str, shape: Architecture, ranges: Ranges, device: torch.device) -> Callable[[Tensor], Tensor]:
    low, high = ranges.variance(site)
    period = SLACK * (high - low)
    return curve(inverse_root(low, high, period, eps=shape.eps), period, device)


def _reciprocal(site: str, shape: Architecture, ranges: Ranges, device: torch.device) -> Callable[[Tensor], Tensor]:
    low, high = ranges.denominator(site)
    period = SLACK * (high - low)
    return curve(reciprocal(low, high, period, factor=1.0, unit=1.0, floor=shape.floor), period, device)


def _bend(site: str, shape: Architecture, ranges: Ranges, device: torch.device) -> Callable[[Tensor], Tensor]:
    width = 2.0 ** (ranges.square_bits(site) / 2)
    bent = curve(magnitude(), 2 * width, device)
    return lambda u: width * bent(u)


def _inverse(site: str, shape: Architecture, ranges: Ranges, device: torch.device) -> Callable[[Tensor], Tensor]:
    low, high = ranges.row_sum(site)
    return curve(inverse_sum(low, high, sum_period(low, high)).fit, sum_period(low, high), device)


_MAKERS = {"activation": _activation, "attention_var": _root, "output_var": _root}
_OF_KIND: dict[Kind, dict[str, Maker]] = {
    "folded": {"den": _reciprocal},
    "paper": {"den": _reciprocal},
    "relu2": {"feature_query": _bend, "feature_key": _bend, "row_sum": _inverse},
    "merged": {},
}
