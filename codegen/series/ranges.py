"""Ranges of a program's non-linearities: calibrated on public text, or stated defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

Site = Mapping[str, float]
"""min, max and the quantiles q0.0001 and q0.9999 of what a site saw."""


@dataclass(frozen=True)
class Ranges:
    """What calibration found at each site, with a margin around it.

    `margin` is a factor on half widths, `reach` one on both ends of positive intervals: prompts that the search tries
    push values further than text does, and a root outside its interval is wrong by more than a little.
    """

    sites: Mapping[str, Site] = field(default_factory=dict)
    margin: float = 1.2
    reach: float = 2.0

    def half_width(self, site: str, default: float = 12.0) -> float:
        """Largest magnitude of 99.98 % of the values, with margin, rounded up to an integer of at least 4."""
        seen = self.sites.get(site)
        if seen is None:
            return default
        return max(4.0, float(ceil(self.margin * max(abs(seen["q0.0001"]), abs(seen["q0.9999"])))))

    def interval(self, site: str, default: tuple[float, float]) -> tuple[float, float]:
        """Smallest and largest value seen of a positive quantity, with margin."""
        seen = self.sites.get(site)
        if seen is None:
            return default
        return seen["min"] / self.reach, seen["max"] * self.reach

    def activation_width(self, site: str, linear_beyond: float) -> float:
        """Half width w that an activation's even part is fitted on so that the fit holds on all of the site's range:
        it does so up to 2w less the point where the activation becomes linear (`fits.fold_even`)."""
        return (self.half_width(site) + linear_beyond) / 2

    def variance(self, site: str) -> tuple[float, float]:
        """A layer norm's variances."""
        return self.interval(site, (0.05, 50.0))

    def denominator(self, site: str) -> tuple[float, float]:
        """Attention denominators over F·T, at most 1; noise may take them below zero."""
        seen = self.sites.get(site)
        low = -0.15 if seen is None else min(0.0, seen["min"]) * self.reach
        return max(-1.0, low - 0.02), 1.02
