"""Builder of ring programs: methods for every operation, and the range of its result, checked for overflow.

Shape, sharing and scale follow from the operation's row (`operations.py`); a method refuses what does not fit with
ValueError.
"""

from __future__ import annotations

from math import ceil, floor, inf, log2, sqrt

from ..commandline.problems import Problem, ProblemsFound
from ..series.fits import Fit
from .program import PHASE, WORD, Shape
from .values import HEADROOM, Matrix, RangedValues

FACTOR = 32
"""Least factor that makes a phase: rounding it to an integer then changes the period by 1/64 at most."""
COARSE = 8
"""The same where bits of the value cost more than a longer period: 1/16."""
DOWN = 17
"""Scale of a factor of orthonormal columns."""


class RingBuilder(RangedValues):
    """A ring program under construction; methods take and return ids of values."""

    def _add(self, kind: str, *inputs: int, bound: float, shape: Shape = (), scale: int = 0, **keys: object) -> int:
        """A value whose magnitude is at most `bound`; what would overflow is noted in `problems`."""
        i = self._append(kind, inputs, bound=bound, shape=shape, scale=scale, **keys)
        scale = self[i].scale
        if scale != PHASE and bound > 0 and scale + log2(bound) > HEADROOM:
            self.problems.append(
                f"{self.site}: {kind} (value {i}) would overflow: "
                f"|x| <= {bound:.3g} at scale {scale} needs {scale + log2(bound):.1f} bits, {HEADROOM} are there"
            )
        return i

    # local operations

    def matmul(self, a: int, b: int, bound: float = inf) -> int:
        """a @ b over the last two axes; bound by Cauchy-Schwarz, of rows of a and columns of b."""
        y = self[b]
        columns = self._columns.get(b, y.bound * sqrt(y.shape[-2]))
        return self._add("matmul", a, b, bound=min(self.norm(a) * columns, bound))

    def product(self, x: int, m: Matrix) -> int:
        """x @ a matrix of the model's, merged, or a public one and two thin secret ones: x @ base + (x @ down) @ up,
        with x @ down truncated to x's scale, once for all matrices that the same tensors change."""
        if m.change is None:
            return self.matmul(x, m.weight)
        base, change = self.matmul(x, m.weight), m.change
        first, basis = self._down.setdefault((self[m.weight].shape[0], *change.names), (m.name, change))
        if (key := (x, first)) not in self._thin:
            q = self.weight(f"{first}.down", (self[m.weight].shape[0], change.rank), DOWN, basis.down)
            self._thin[key] = self.trunc(self.matmul(x, q), self[x].scale)
            self.declare(self._thin[key], norm=self.norm(x))
        shape = (change.rank, self[m.weight].shape[1])
        up = self.weight(f"{m.name}.up", shape, self[m.weight].scale, lambda w: change.up(w, basis.down(w)))
        return self.add(base, self.matmul(self._thin[key], up))

    def mul(self, a: int, b: int, bound: float = inf) -> int:
        """Elementwise product."""
        return self._add("mul", a, b, bound=min(self[a].bound * self[b].bound, bound))

    def add(self, a: int, b: int) -> int:
        """Elementwise a + b at one scale."""
        return self._add("add", a, b, bound=self[a].bound + self[b].bound)

    def sub(self, a: int, b: int) -> int:
        """Elementwise a - b at one scale."""
        return self._add("sub", a, b, bound=self[a].bound + self[b].bound)

    def times(self, a: int, by: int) -> int:
        """by · a, the scale kept."""
        v = self[a]
        return self._add("scale", a, bound=v.bound * abs(by), scale=v.scale, by=by)

    def raise_scale(self, a: int, to: int) -> int:
        """The same value at a larger scale."""
        v = self[a]
        if to == v.scale:
            return a
        if to < v.scale:
            raise ValueError(f"raise_scale: the scale is {v.scale}, {to} is asked for")
        return self._add("scale", a, bound=v.bound, scale=to, by=2 ** (to - v.scale))

    def shift(self, a: int, bits: int) -> int:
        """2^bits · a, exactly: the same ring element read at another scale."""
        v = self[a]
        return self._add("scale", a, bound=v.bound * 2.0**bits, scale=v.scale - bits, by=1) if bits else a

    def phase(self, a: int, period: float, least: int = FACTOR) -> tuple[int, float]:
        """The value as a phase (turns of about `period`); returns it with the exact period that the factor gives: a
        small integer, of at least `least`, times a power of two, so that few bits of the value count (`narrow.py`).

        Raises ProblemsFound when the range leaves too little of the ring for a phase.
        """
        v = self[a]
        factor = 2.0 ** (PHASE - v.scale) / period
        zeros = max(0, floor(log2(factor / least)))
        by = round(factor / 2**zeros) << zeros
        if by < least:
            self.problems.append(
                f"{self.site}: a range of {period:.3g} at scale {v.scale} leaves a factor of {by} for its phase; "
                f"{least} is the least"
            )
            raise ProblemsFound([Problem("error", "a product would overflow", p) for p in self.problems])
        return self._add("scale", a, bound=inf, scale=PHASE, by=by), 2.0 ** (PHASE - v.scale) / by

    def turns(self, a: int) -> int:
        """The value itself as a phase: one is a turn."""
        v = self[a]
        return self._add("scale", a, bound=inf, scale=PHASE, by=2 ** (PHASE - v.scale))

    def sum(self, a: int, axis: int = -1, bound: float = inf) -> int:
        """Sum over one axis (negative), kept with length 1."""
        v = self[a]
        return self._add("sum", a, bound=min(v.bound * v.shape[axis], bound), axis=axis)

    def reshape(self, a: int, shape: Shape) -> int:
        """The same elements in another shape."""
        v = self[a]
        return a if v.shape == shape else self._add("reshape", a, bound=v.bound, shape=shape)

    def permute(self, a: int, axes: tuple[int, ...]) -> int:
        """Axes of the instance shape in another order."""
        return self._add("permute", a, bound=self[a].bound, axes=axes)

    def slice(self, a: int, axis: int, lo: int, hi: int) -> int:
        """Elements lo ≤ i < hi of one axis (negative)."""
        v = self[a]
        if (lo, hi) == (0, v.shape[axis]):
            return a
        i = self._add("slice", a, bound=v.bound, axis=axis, lo=lo, hi=hi)
        return i if axis == -1 else self.declare(i, norm=self.norm(a))

    def window(self, a: int, rows: int) -> int:
        """So many rows of a setup value, from the row on that a step begins with."""
        return self._add("window", a, bound=self[a].bound, rows=rows)

    def append(self, name: str, rows: int, capacity: int) -> int:
        """A state `[capacity, …]` of the rows that steps have appended, with this step's `[n, …]` in their place."""
        v = self[rows]
        state = self._add("state", bound=v.bound, shape=(capacity, *v.shape[1:]), scale=v.scale, name=name)
        return self.declare(self._add("append", state, rows, bound=v.bound), norm=self.norm(rows))

    def concat(self, parts: tuple[int, ...], axis: int) -> int:
        """Parts joined along one axis (negative)."""
        i = self._add("concat", *parts, bound=max(self[p].bound for p in parts), axis=axis)
        return i if axis == -1 else self.declare(i, norm=max(self.norm(p) for p in parts))

    def reduce_examples(self, a: int, total: float = 1.0) -> int:
        """Sum over the examples of a step; their weights add up to `total` at most: if to one, the bound stays."""
        return self._add("reduce_examples", a, bound=self[a].bound * total)

    # protocols

    def trunc(self, a: int, scale: int, gain_bits: int = 0) -> int:
        """The value times 2^gain_bits at a smaller scale, replicated; ±1.5 units."""
        v = self[a]
        shift = v.scale - scale - gain_bits
        return self._add("trunc", a, bound=v.bound * 2.0**gain_bits, scale=scale, shift=shift, ring=WORD)

    def reshare(self, a: int) -> int:
        """An additive value, replicated."""
        return self._add("reshare", a, bound=self[a].bound, ring=WORD)

    def cos_sin(self, a: int, scale: int, *, k: int = 14, fc: int = 12, fa: int = 12) -> int:
        """[cos 2πθ, sin 2πθ] along the last axis at a scale of at most fc + fa, from one opening."""
        shift = fc + fa - scale
        return self._add("cos_sin", a, bound=1.001, k=k, fc=fc, fa=fa, sum=WORD, shift=shift, ring=WORD)

    def fourier(self, a: int, fit: Fit, scale: int | None = None) -> int:
        """A fitted periodic function of a phase, at a scale of at most the fit's; None: the fit's."""
        shift = 0 if scale is None else fit.scale - scale
        return self._add("fourier", a, bound=fit.bound, fit=self.program.number(fit), shift=shift, ring=WORD)


def bits_for(n: float) -> int:
    """Smallest b with n <= 2^b."""
    return ceil(log2(n))
