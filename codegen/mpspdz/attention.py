"""Keywords of the attention of a stack of layers, and which layers may share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..plan.graph import Value
from ..series.fits import Fit
from ..series.ranges import Ranges
from ..series.softmax import BEYOND, CAUSAL_BEYOND, PLATEAU, WEIGHT_ERROR, period, root_weight
from .protocols import PROTOCOLS, ProtocolName

RFA = ("variant", "heads", "features", "floor")
"""Attributes of random features that kernels take."""
DIGITS = 5
"""Behind the point of an amplitude; kernels round to 2^-14."""


@dataclass(frozen=True)
class Attention:
    """Of layers whose scores have these ranges, under this protocol."""

    ranges: Ranges
    protocol: ProtocolName

    @property
    def by_series(self) -> bool:
        """Whether openings are masked, so that functions are Fourier series with intervals."""
        return PROTOCOLS[self.protocol].masked_openings

    def keywords(self, layers: Sequence[Value]) -> dict[str, Any]:
        """What one call for all of these layers says of attention: the widest of their intervals serves all."""
        attrs = layers[0].attrs
        if attrs["attention"] == "rfa":
            return {name: attrs[name] for name in RFA}
        softmax = {"variant": "softmax", "heads": attrs["heads"]}
        if not self.by_series:
            return softmax | {"plateau": PLATEAU}
        return softmax | _series(min(map(self._low, layers)), BEYOND)

    def weighing(self, layers: Sequence[Value]) -> list[dict[str, Any]] | dict[str, Any]:
        """What a call for decoder layers says of their weights: for each its own series, of as many harmonics; or one
        plateau for all."""
        if not self.by_series:
            return {"plateau": PLATEAU}
        series = [_series(self._low(v), CAUSAL_BEYOND) for v in layers]
        most = max(len(each["amplitudes"]) for each in series)
        for each in series:
            each["amplitudes"] += [(0.0, 0.0)] * (most - len(each["amplitudes"]))
        return series

    def alike(self, a: Value, b: Value) -> bool:
        """Whether the wider interval of two layers' scores costs the other layer neither harmonics nor exactness."""
        if a.attrs["attention"] == "rfa" or not self.by_series:
            return True
        fits = self._fit(a), self._fit(b)
        exact = max(fit.error for fit in fits) <= WEIGHT_ERROR
        return fits[0] == fits[1] or (exact and len(fits[0].m) == len(fits[1].m))

    def _low(self, v: Value) -> float:
        return self.ranges.lowest_score(f"layers.{v.attrs['layer']}.score")

    def _fit(self, v: Value) -> Fit:
        return root_weight(self._low(v), period(self._low(v)))


def _series(low: float, beyond: float) -> dict[str, Any]:
    """The fit for scores from `low` on, up to `beyond` the plateau's edge."""
    length = period(low, beyond)
    fit = root_weight(low, length, beyond)
    amplitudes = [(round(re, DIGITS), round(im, DIGITS)) for re, im in zip(fit.re, fit.im, strict=True)]
    return {"period": length, "mean": round(fit.const, DIGITS), "amplitudes": amplitudes}
