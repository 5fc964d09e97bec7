"""Ranges that the non-linearities of a plan see on public text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plan.execution import Observer
from ..plan.graph import Plan
from ..plan.oracle import run_plan

Array = NDArray[Any]
QUANTILES = (0.0001, 0.9999)
_KEPT = 1 << 14
"""Values kept of the middle of one observation; all of the `_TAIL` at either end are."""
_TAIL = 1e-3
"""Ten times the share that quantiles leave out: parts of an observation may differ."""


def calibrate(
    plan: Plan, weights: Mapping[str, Array], batches: Iterable[Mapping[str, Array]], also: Observer | None = None
) -> dict[str, dict[str, float]]:
    """Run the plan on `batches` of inputs and say what every site saw: `min`, `max`, `q0.0001`, `q0.9999`.

    Sites are those of `oracle_float.run_plan`. Numbers have three digits, rounded outward. JSON-able.
    `also` is told of all values.
    """
    seen: dict[str, list[tuple[Array, float]]] = {}

    def observe(site: str, values: Array) -> None:
        if values.size:
            seen.setdefault(site, []).extend(_thinned(values.astype(np.float32)))
        if also is not None:
            also(site, values)

    # decoders are large, and three digits are kept
    dtype = np.float32 if any(v.kind == "decoder_layer" for v in plan) else np.float64
    for inputs in batches:
        run_plan(plan, weights, inputs, observe=observe, dtype=dtype)
    return {site: _summary(parts) for site, parts in seen.items()}


def _thinned(values: Array) -> list[tuple[Array, float]]:
    """Both ends of the values whole, and some of those between; with the number of values that each stands for."""
    tail = 1 + int(_TAIL * values.size)
    if values.size <= _KEPT + 2 * tail:
        return [(values, 1.0)]
    parted = np.partition(values, (tail, values.size - 1 - tail))
    middle = parted[tail:-tail]
    some = middle[:: middle.size // _KEPT]
    return [(parted[:tail].copy(), 1.0), (some.copy(), middle.size / some.size), (parted[-tail:].copy(), 1.0)]


def _summary(parts: list[tuple[Array, float]]) -> dict[str, float]:
    values = np.concatenate([kept for kept, _ in parts])
    weight = np.concatenate([np.full(kept.size, each) for kept, each in parts])
    order = np.argsort(values)
    values, rank = values[order], np.cumsum(weight[order])
    low, high = (float(values[min(np.searchsorted(rank, q * rank[-1]), values.size - 1)]) for q in QUANTILES)
    return _site(float(values[0]), low, high, float(values[-1]))


def summary(values: Array) -> dict[str, float]:
    """The same of values that are all there."""
    low, high = np.quantile(values, QUANTILES)
    return _site(float(values.min()), float(low), float(high), float(values.max()))


def with_outliers(sites: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The same sites as if no value were too rare to count: quantiles are the extremes. But for softmax's scores, whose
    interval ends where it does."""
    low, high = (f"q{q}" for q in QUANTILES)
    return {
        name: dict(site) if name.endswith(".score") else {**site, low: site["min"], high: site["max"]}
        for name, site in sites.items()
    }


def _site(least: float, low: float, high: float, most: float) -> dict[str, float]:
    return {
        "min": outward(least, up=False),
        "max": outward(most, up=True),
        f"q{QUANTILES[0]}": outward(low, up=False),
        f"q{QUANTILES[1]}": outward(high, up=True),
    }


def outward(x: float, up: bool) -> float:
    """X at three significant digits, rounded up or down."""
    if x == 0:
        return 0.0
    digits = 2 - floor(log10(abs(x)))
    scaled = x * 10.0**digits
    return round((ceil(scaled) if up else floor(scaled)) * 10.0**-digits, digits)
