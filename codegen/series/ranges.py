"""Intervals that the non-linearities are fitted on: calibrated on public text, or stated defaults.

A *site* is a place in the model whose values are observed, by name: `layers.0.activation`, the activation's inputs;
`layers.0.attention_var` and `.output_var`, a layer norm's variances; `layers.0.den`, attention denominators over F·T;
`layers.0.q_norm2`, squared lengths of queries; `layers.0.feature_query` and `.feature_key`, projections that squared
ReLUs are taken of; `layers.0.score`, of softmax attention, and `.row_sum`, sums of a row's weights where none is
negative; `head.dense`, `head.norm_var`, `head.norm2`, `loss.diff`.

The defaults serve programs without weights, whose costs are wanted. What an adapter's texts showed of MiniLM
(`examples/minilm-rfa`) stands beside each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor, log2

Site = Mapping[str, float]
"""min, max and the quantiles q0.0001 and q0.9999 of what a site saw."""

HALF_WIDTH = 12.0
"""Activation inputs and the head's dense layer; MiniLM: 99.98 % within ±8.7, with margin 11."""
VARIANCE = (0.05, 50.0)
"""MiniLM: from 0.12 to 41."""
LOWEST_SCORE = -24.0
"""Of softmax attention; MiniLM: from -67 (layer 0) to -12 (layer 5)."""
ROW_SUM = (0.15, 25.0)
"""Of its weights: 1 where the log-sum-exp is estimated right; MiniLM: 99.98 % from 0.13 to 10, but for layer 0."""
LEAST_SUM_END = 8.0
"""Of intervals for these sums: a few estimates are two too low, however few texts calibration saw."""
CAUSAL_SUM_END = 60.0
"""Of decoders', whose estimates may be seven too low (`softmax.CAUSAL_BEYOND`)."""
LEAST_DENOMINATOR = -0.15
"""A mean over keys of kernel values, each cos of a phase difference averaged over F features. Drawn features put noise
of 1/√(2F) on a value, 0.125 for 32 features, and keys share it: a denominator may be negative by about that. Trained
ones are not (MiniLM: -0.036)."""
EDGE = 0.02
"""Room at both ends of denominators, which lie in [-1, 1]: ten times the rounding error of φ(q)ᵀn/(F·T), 2e-3."""
PROJECTED_NORM2 = (0.05, 100.0)
"""Squared length of a query or key, `--rfa paper`."""
LEAST_PROJECTION = 2.0**-6
"""Half width of an interval for projections that squared ReLUs are taken of: sums of weights about 1 make them 0.2."""
HEAD_NORM2 = (0.25, 100.0)
"""Squared length of the pooled row."""
LOGIT_DIFFERENCE = 20.0
"""Between two labels: the default temperature of a prototype head, whose cosines differ by less than 1 as a rule."""


@dataclass(frozen=True)
class Ranges:
    """What calibration found at each site, with a margin around it.

    `margin` is a factor on half widths, `reach` one on both ends of positive intervals: prompts that the search tries
    push values further than text does, and a root outside its interval is wrong by more than a little.
    """

    sites: Mapping[str, Site] = field(default_factory=dict)
    margin: float = 1.2
    reach: float = 2.0

    def half_width(self, site: str, default: float = HALF_WIDTH) -> float:
        """Largest magnitude of 99.98 % of the values, with margin, rounded up to an integer of at least 4."""
        seen = self.sites.get(site)
        if seen is None:
            return default
        return max(4.0, float(ceil(self.margin * max(abs(seen["q0.0001"]), abs(seen["q0.9999"])))))

    def largest(self, site: str, default: float = HALF_WIDTH) -> float:
        """Largest magnitude of all values, outliers included, with margin, rounded up to an integer of at least 4."""
        seen = self.sites.get(site)
        if seen is None:
            return default
        return max(4.0, float(ceil(self.margin * max(abs(seen["min"]), abs(seen["max"])))))

    def interval(self, site: str, default: tuple[float, float]) -> tuple[float, float]:
        """Smallest and largest value of a positive quantity, with margin."""
        seen = self.sites.get(site)
        if seen is None:
            return default
        return seen["min"] / self.reach, seen["max"] * self.reach

    def activation_width(self, site: str, linear_beyond: float, *, outliers: bool = False) -> float:
        """Half width w to fit an activation's even part on, so that the fit holds on all of the site's range;
        `outliers`: of those values too that are too rare to count as a rule.

        A fit on ±w holds up to 2w - `linear_beyond`, the point from which the activation is linear (`fits.fold_even`).
        """
        return ((self.largest if outliers else self.half_width)(site) + linear_beyond) / 2

    def variance(self, site: str) -> tuple[float, float]:
        """A layer norm's variances."""
        return self.interval(site, VARIANCE)

    def lowest_score(self, site: str) -> float:
        """Smallest score less its row's estimated log-sum-exp."""
        seen = self.sites.get(site)
        return LOWEST_SCORE if seen is None else min(-8.0, float(floor(self.margin * seen["min"])))

    def highest_score(self, site: str) -> float:
        """What 99.99 % of the scores less their row's estimated log-sum-exp do not exceed."""
        seen = self.sites.get(site)
        return 0.0 if seen is None else seen["q0.9999"]

    def row_sum(self, site: str, least_end: float = LEAST_SUM_END) -> tuple[float, float]:
        """Sums of a row's softmax weights: all but the smallest 0.01 %, which no series of moderate length inverts, up
        to `least_end` at least."""
        seen = self.sites.get(site)
        if seen is None:
            return ROW_SUM
        return max(ROW_SUM[0], seen["q0.0001"] / self.reach), max(least_end, seen["max"] * self.reach)

    def square_bits(self, site: str) -> int:
        """log2 w² of the interval ±w that projections for squared ReLU features lie in, but for 0.02 % of them, which
        stay within ±2w, where φ is still defined; whole, so that φ = max(0, u)² is in units of a power of two."""
        seen = self.sites.get(site)
        if seen is None:
            return 0
        common, rare = (
            max(map(abs, ends)) for ends in ((seen["q0.0001"], seen["q0.9999"]), (seen["min"], seen["max"]))
        )
        return ceil(2 * log2(max(common, rare / 2, LEAST_PROJECTION)))

    def denominator(self, site: str) -> tuple[float, float]:
        """Attention denominators over F·T: at most 1, and noise may take them below zero."""
        seen = self.sites.get(site)
        low = LEAST_DENOMINATOR if seen is None else min(0.0, seen["min"]) * self.reach
        return max(-1.0, low - EDGE), 1 + EDGE
