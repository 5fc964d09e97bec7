"""Attention by squared ReLU features in the ring, in linear order and without a floor. Per head, with F features:

    out = φ(q)ᵀS · r(φ(q)ᵀn),   S = Σ_t m_t φ(k_t) v_tᵀ,   n = Σ_t m_t φ(k_t),   r(n) = 1/n

φ(x) = [max(0, u)², max(0, -u)²], 2F long, of learned projections u = W x + b of the rows, which take the place of
queries and keys (T2R, Kasai et al. 2021, has ReLU). Weights φ(q)·φ(k) are not negative, so that their sums stay away
from 0 (`ROW_SUMS` in `runtime/adaptation/features.py`) and a sharp head keeps its shape: cosines and sines cancel.

max(0, ±u) = |u|/2 ± u/2 comes of one opening of |u|/2 and one truncation of u; both are squared, so that φ is not
negative whatever the series errs by, and small errors at the bend are squared. Beyond the interval ±w the series turns
back, and φ stays at w² up to 2w.
"""

from __future__ import annotations

from math import sqrt

from ..commandline.problems import Problem, ProblemsFound
from ..ring.builder import RingBuilder
from ..series.nonlinear import magnitude
from ..series.ranges import Ranges
from .association import Association, Keyed
from .heads import Part, Weighing, values
from .scales import BENT, ROW, TURN

SQUARE = 14
"""Scale of features in units of w²: typical ones are a twentieth of that."""
KERNEL = 14
"""Scale of weights φ(q)·φ(k), whose sums are about 1."""
MOST_BITS = 8
"""Of w²: features of up to 256."""
OVER = 1.05
"""What |max(0, ±u)| may be, in units of w: series and rounding included."""


class SquaredReluAttention(Weighing):
    """Attention by squared ReLU features."""

    def attend(self, parts: tuple[Part, ...], reads: tuple[int, ...]) -> int:
        """As random features' (`lowering/attention.py`): only sums of parts of different stages meet in a pair."""
        r, features = self.r, self.v.attrs["features"]
        keyed = [
            Keyed(r.permute(self._features("key", part.rows), (1, 2, 0)), *values(r, self.v, self.norm, part))
            for part in parts
        ]
        queries = [r.permute(self._features("query", x), (1, 0, 2)) for x in reads]
        each, longest = r[keyed[0].key].bound, max(r[part.value].bound for part in keyed)
        largest = features * each * r[queries[0]].bound
        association = Association(r, largest, 0, each, kernel_scale=kernel_scale(r, queries[0], keyed[0].key))
        numerator, total = association.weigh(queries, keyed)
        return self.divided(total, numerator, longest)

    def _features(self, which: str, x: int) -> int:
        """φ of the queries or keys of some rows, `[R, H, 2F]`: the positive halves, and behind them the negative."""
        r, a = self.r, self.v.attrs
        rows, hidden = r[x].shape
        width = a["heads"] * a["features"]
        site = f"layers.{a['layer']}.feature_{which}"
        weight, bias, bits = f"{site}.weight", f"{site}.bias", square_bits(self.ranges, site)
        turn = 2 * 2.0 ** (bits / 2)  # of the series
        m = r.weight(weight, (hidden, width), TURN, lambda w: self.norm.matrix(w, weight) / turn)
        b = r.weight(bias, (width,), TURN + ROW, lambda w: self.norm.offset(w, weight, bias) / turn)
        u = r.reshape(r.add(r.matmul(x, m), b), (rows, a["heads"], a["features"]))
        return squared_relu(r, u, bits)


def square_bits(ranges: Ranges, site: str) -> int:
    """log2 w² of a site's projections. Raises ProblemsFound where features would be too large for the ring."""
    if (bits := ranges.square_bits(site)) > MOST_BITS:
        layer, width = site.split(".")[1], 2.0 ** (bits / 2)
        raise ProblemsFound([Problem(
            "error", f"layer {layer}: projections for squared ReLU features lie within ±{width:.0f}, accepted: "
            f"±{2.0 ** (MOST_BITS / 2):.0f}", "Sums of weights should be about 1: convert the model again.",
        )])  # fmt: skip
    return bits


def kernel_scale(r: RingBuilder, query: int, key: int) -> int:
    """Scale of weights of features: `KERNEL`, where their product has more."""
    return min(KERNEL, r[query].scale + r[key].scale - 1)


def squared_relu(r: RingBuilder, u: int, bits: int) -> int:
    """[max(0, u)², max(0, -u)²] along the last axis, of u additive in turns of 2w, where w² = 2^bits."""
    bent = r.fourier(r.turns(u), magnitude(), BENT)
    half = r.declare(r.trunc(u, BENT), bound=1.0)
    root = r.concat((r.add(bent, half), r.sub(bent, half)), -1)
    root = r.declare(root, bound=OVER)
    square = r.trunc(r.mul(root, root), SQUARE)
    features = r[u].shape[-1]
    # of each pair one is about 0
    return r.declare(r.shift(square, bits), norm=OVER**2 * 2.0**bits * sqrt(features))
