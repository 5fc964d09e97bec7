"""Softmax attention in the ring, without a maximum and without training. Per head, with keys j of a row i:

    out_i = Σ_j w_ij v_j · r(Σ_j m_j w_ij),   w_ij = G(q_i·k_j/√D - c_i)²,   r(n) = 1/n

c_i = w·x̂_i + b estimates the row's log-sum-exp log Σ_j e^(q_i·k_j/√D): one more column per head in a product with the
rows, fitted to public text (`owners/log_sum.py`). What it errs by cancels in the quotient, as every factor of a row
does; it only has to keep scores within the interval of G, which grows as e^(s/2) up to a plateau (`series/softmax.py`).
Squares are positive, and square the small errors of G's tail. m masks the keys; v_j is 0 where m_j is.

A score costs one masked opening and one truncation, a row and head one opening of 1/n.
"""

from __future__ import annotations

from functools import reduce
from typing import ClassVar

from ..commandline.problems import Problem, ProblemsFound
from ..series.softmax import BEYOND, HIGHEST, MOST_ROOT, period, root_weight
from .heads import Part, Weighing, in_front, projected, values
from .scales import BENT, ROW


class SoftmaxAttention(Weighing):
    """Attention by softmax."""

    advice = "Give --attention rfa and an adapter (secfwt-convert)."
    """What else there is where it does not serve."""
    beyond: ClassVar[float] = BEYOND
    """How far beyond the plateau's edge scores may lie."""

    def attend(self, parts: tuple[Part, ...], reads: tuple[int, ...]) -> int:
        """Parts of different stages meet as late as attention lets them: scores of tokens on tokens are computed once
        per example, those that a prompt's rows take part in once per pair, and numerators and sums are added for a
        pair.
        """
        r = self.r
        # 1. keys, masked values and masks of every part
        keys = [in_front(r, self.v, projected(r, self.v, self.norm, "k", part.rows), (1, 2, 0)) for part in parts]
        masked = [values(r, self.v, self.norm, part) for part in parts]

        # 2. per row that is read: weights on every part, their sums, and what they weigh
        numerators, sums, longest = [], [], max(r[value].bound for value, _ in masked)
        for x in reads:
            query, centre = self._query(x)
            weights = [(self._weights(query, key, centre), *each) for key, each in zip(keys, masked, strict=True)]
            numerators.append(reduce(r.add, (r.matmul(w, value) for w, value, _ in weights)))
            counts = (r.sum(w, -1) if mask is None else r.matmul(w, mask) for w, _, mask in weights)
            sums.append(reduce(r.add, counts))

        return self.divided(r.concat(tuple(sums), -2), r.concat(tuple(numerators), -2), longest)

    def _query(self, x: int) -> tuple[int, int]:
        """q/√D `[H, R, D]`, replicated, and c `[H, R, 1]` at a product's scale, additive."""
        r, a = self.r, self.v.attrs
        rows, hidden = r[x].shape
        query = projected(r, self.v, self.norm, "q", x, factor=a["head_dim"] ** -0.5)
        weight, bias = (f"layers.{a['layer']}.log_sum.{part}" for part in ("weight", "bias"))
        m = r.weight(weight, (hidden, a["heads"]), ROW, lambda w: self.norm.matrix(w, weight))
        b = r.weight(bias, (a["heads"],), 2 * ROW, lambda w: self.norm.offset(w, weight, bias))
        centre = r.permute(r.add(r.matmul(x, m), b), (1, 0))
        return in_front(r, self.v, query, (1, 0, 2)), r.reshape(centre, (a["heads"], rows, 1))

    def _weights(self, query: int, key: int, centre: int, allowed: int | None = None) -> int:
        """w `[H, R, R']` at scale `ROW`; `allowed`: public zeros and ones `[R, R']`, where it is 0 there."""
        r, layer = self.r, self.v.attrs["layer"]
        site = f"layers.{layer}.score"
        low, high = self.ranges.lowest_score(site), self.ranges.highest_score(site)
        if high > HIGHEST:
            raise ProblemsFound([Problem(
                "error",
                f"layer {layer}: scores lie up to {high:.0f} above their row's estimated log-sum-exp, accepted: "
                f"{HIGHEST:.1f}",
                f"No linear function of the rows estimates it. {self.advice}".strip(),
            )])  # fmt: skip
        theta, turn = r.phase(r.sub(r.matmul(query, key), centre), period(low, self.beyond))
        fit = root_weight(low, turn, self.beyond)
        if fit.bound > MOST_ROOT:
            raise ProblemsFound([Problem(
                "error", f"layer {layer}: scores lie up to {-low:.0f} below their row's log-sum-exp",
                f"No short series serves that range. {self.advice}".strip(),
            )])  # fmt: skip
        root = r.fourier(theta, fit, BENT)
        square = r.mul(root, root)
        return r.trunc(square if allowed is None else r.mul(square, allowed), ROW)
