"""Random-feature attention in the ring (Peng et al. 2021, eq. 5). Per head, with F features and R key rows:

    out = φ(q)ᵀS / (F·R) · r(φ(q)ᵀn / (F·R)),   S = Σ_t m_t φ(k_t) v_tᵀ,   n = Σ_t m_t φ(k_t),   r(x) = 1/max(x, floor)

with φ(θ) = [cos θ, sin θ], 2F long, m the mask, so that |φ(q)·φ(k)| <= F whatever q and k.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2

import numpy as np

from ..ring.builder import COARSE, bits_for
from ..ring.program import RingValue
from ..ring.values import HEADROOM
from ..series.nonlinear import SLACK, inverse_root, reciprocal
from ..series.ranges import PROJECTED_NORM2
from .association import Association, Keyed
from .heads import Attention, Part, projected, side_by_side, values
from .scales import ANGLE, LEAST, RECIPROCAL, ROW, TURN

UNIT = 1.1
"""Length that a query or key scaled to unit length may come out with: its inverse root's error, with room."""


@dataclass(frozen=True)
class AttentionScales:
    """Truncations divide by powers of two for nothing; the reciprocal's fit makes up for what F and R differ by.

    out = N · Q,   N = φ(q)ᵀ(S/2^row_bits) / 2^feature_bits
                   Q = feature_pad · row_pad · r(φ(q)ᵀ(n/2^row_bits) · row_pad / F)
    """

    features: int
    """F."""
    rows: int
    """R."""

    @property
    def row_bits(self) -> int:
        """Smallest with R <= 2^row_bits."""
        return bits_for(self.rows)

    @property
    def feature_bits(self) -> int:
        """Largest with 2^feature_bits <= F."""
        return floor(log2(self.features))

    @property
    def row_pad(self) -> float:
        """2^row_bits / R, from 1 to 2."""
        return 2.0**self.row_bits / self.rows

    @property
    def feature_pad(self) -> float:
        """2^feature_bits / F, from 1/2 to 1."""
        return 2.0**self.feature_bits / self.features

    def numerator(self, inverse: RingValue, largest: float) -> int:
        """Scale of N, |N| <= `largest`/2^feature_bits: as much precision as the product with Q leaves room for, but no
        more than a bit beyond a row's."""
        room = floor(HEADROOM - inverse.scale - log2(inverse.bound * largest * 2.0**-self.feature_bits))
        return max(LEAST, min(ROW + 1, room))


class RandomFeatureAttention(Attention):
    """Attention by random features."""

    def attend(self, parts: tuple[Part, ...], reads: tuple[int, ...]) -> int:
        """Parts of different stages meet as late as attention lets them: keys and values of the tokens are computed
        once per example, those of a prompt once per candidate, and only the sums S and n are added for a pair
        (`association.py`).
        """
        r = self.r
        scales = AttentionScales(self.v.attrs["features"], sum(r[part.rows].shape[0] for part in parts))

        # 1. φ(q) of the rows that are read, φ(k), values and masks of all
        keyed = [
            Keyed(r.permute(self._features("key", part.rows), (1, 2, 0)), *values(r, self.v, self.norm, part))
            for part in parts
        ]
        queries = [r.permute(self._features("query", x), (1, 0, 2)) for x in reads]

        # 2. φ(q)ᵀS/2^row_bits and φ(q)ᵀn/2^row_bits, in either order
        weighed, counted = Association(r, float(scales.features), scales.row_bits).weigh(queries, keyed)

        # 3. Q from φ(q)ᵀn, N from φ(q)ᵀS
        inverse = self._inverse(counted, scales)
        largest = r[weighed].bound
        numerator = r.trunc(weighed, scales.numerator(r[inverse], largest), -scales.feature_bits)

        # 4. N · Q, heads side by side: weights of values that add up to one, of which some may be negative
        out = r.trunc(r.mul(numerator, inverse), ROW)
        return side_by_side(r, r.declare(out, bound=4 * largest / scales.features * scales.row_pad))

    def _inverse(self, denominator: int, scales: AttentionScales) -> int:
        """Q from φ(q)ᵀ(n/2^row_bits), which is F/row_pad times what r is asked for."""
        site = f"layers.{self.v.attrs['layer']}.den"
        low, high = (x / scales.row_pad for x in self.ranges.denominator(site))
        theta, turn = self.r.phase(denominator, scales.features * SLACK * (high - low), COARSE)
        if self.watch:
            self.watch.denominator(denominator, scales.features * low, scales.features * high)
        fit = reciprocal(
            low, high, turn / scales.features, factor=scales.feature_pad * scales.row_pad, unit=scales.row_pad,
            floor=self.v.attrs["floor"],
        )  # fmt: skip
        return self.r.fourier(theta, fit, RECIPROCAL)

    def _features(self, which: str, x: int) -> int:
        """φ of the queries or keys of some rows, `[R, H, 2F]`."""
        return self._paper_features(which, x) if self.v.attrs["variant"] == "paper" else self._folded_features(which, x)

    def _folded_features(self, which: str, x: int) -> int:
        """Straight from the rows: one product, no truncation."""
        r, a = self.r, self.v.attrs
        rows, hidden = r[x].shape
        width = a["heads"] * a["features"]
        weight, bias = (f"layers.{a['layer']}.phase_{which}.{part}" for part in ("weight", "bias"))
        m = r.weight(weight, (hidden, width), TURN, lambda w: self.norm.matrix(w, weight))
        b = r.weight(bias, (width,), TURN + ROW, lambda w: self.norm.offset(w, weight, bias))
        return r.cos_sin(r.turns(r.reshape(r.add(r.matmul(x, m), b), (rows, a["heads"], a["features"]))), ANGLE)

    def _paper_features(self, which: str, x: int) -> int:
        """Of q/‖q‖ or k/‖k‖ (Peng et al. 2021): phases Ω·q/(2π‖q‖)."""
        r, a = self.r, self.v.attrs
        i, heads, dim, features = a["layer"], a["heads"], a["head_dim"], a["features"]
        row = r.reshape(projected(r, self.v, self.norm, which[0], x), (r[x].shape[0], heads, dim))
        low, high = self.ranges.interval(f"layers.{i}.{which[0]}_norm2", PROJECTED_NORM2)
        theta, period = r.phase(r.sum(r.mul(row, row), -1), SLACK * (high - low))
        inverse = r.fourier(theta, inverse_root(low, high, period))
        unit = r.declare(r.trunc(r.mul(row, inverse, bound=UNIT), ROW), norm=UNIT)
        omega = f"layers.{i}.features"
        turns = r.weight(
            omega, (heads, dim, features), TURN, lambda w: np.asarray(np.swapaxes(w[omega], 1, 2) / (2 * np.pi))
        )
        return r.cos_sin(r.turns(r.permute(r.matmul(r.permute(unit, (1, 0, 2)), turns), (1, 0, 2))), ANGLE)
