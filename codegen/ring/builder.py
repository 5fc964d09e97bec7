"""Builder of ring programs: scale, sharing and bound of every operation's result follow from its inputs."""

from __future__ import annotations

from math import ceil, inf, log2, prod, sqrt

import numpy as np

from ..commandline.problems import Problem, ProblemsFound
from ..plan.graph import Sharing, Stage
from ..series.fits import Fit
from .values import PHASE, RingValues


class Ring(RingValues):
    """A ring program under construction."""

    # local operations

    def _joined(self, a: int, b: int) -> Sharing:
        sharings = {self[a].sharing, self[b].sharing}
        if sharings == {Sharing.REP}:
            return Sharing.ADD
        if Sharing.PUB in sharings and Sharing.ADD not in sharings:
            return Sharing.REP if Sharing.REP in sharings else Sharing.PUB
        raise ValueError(f"product of {self[a].sharing.value} and {self[b].sharing.value} shares")

    def matmul(self, a: int, b: int, bound: float | None = None) -> int:
        """a @ b over the last two axes; bound by Cauchy-Schwarz where b is a weight."""
        x, y = self[a], self[b]
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        shape = (*batch, x.shape[-2], y.shape[-1])
        if x.shape[-1] != y.shape[-2]:
            raise ValueError(f"matmul of {x.shape} and {y.shape}")
        derived = self.norm(a) * self._columns.get(b, y.bound * sqrt(y.shape[-2]))
        return self._add("matmul", (a, b), shape, self._joined(a, b), x.scale + y.scale, min(derived, bound or inf))

    def mul(self, a: int, b: int, bound: float | None = None) -> int:
        """Elementwise product."""
        x, y = self[a], self[b]
        shape = np.broadcast_shapes(x.shape, y.shape)
        return self._add(
            "mul", (a, b), shape, self._joined(a, b), x.scale + y.scale, min(x.bound * y.bound, bound or inf)
        )

    def _sum(self, kind: str, a: int, b: int) -> int:
        x, y = self[a], self[b]
        if x.scale != y.scale:
            raise ValueError(f"{kind} of scales {x.scale} and {y.scale}")
        sharing = Sharing.ADD if Sharing.ADD in (x.sharing, y.sharing) else Sharing.REP
        return self._add(kind, (a, b), np.broadcast_shapes(x.shape, y.shape), sharing, x.scale, x.bound + y.bound)

    def add(self, a: int, b: int) -> int:
        """Elementwise a + b at one scale."""
        return self._sum("add", a, b)

    def sub(self, a: int, b: int) -> int:
        """Elementwise a - b at one scale."""
        return self._sum("sub", a, b)

    def times(self, a: int, by: int) -> int:
        """by · a, the scale kept."""
        v = self[a]
        return self._add("scale", (a,), v.shape, v.sharing, v.scale, v.bound * abs(by), by=by)

    def raise_scale(self, a: int, to: int) -> int:
        """The same value at a larger scale."""
        v = self[a]
        if to == v.scale:
            return a
        return self._add("scale", (a,), v.shape, v.sharing, to, v.bound, by=2 ** (to - v.scale))

    def halve(self, a: int) -> int:
        """a / 2, exactly: the same ring element read at one more bit of scale."""
        v = self[a]
        return self._add("scale", (a,), v.shape, v.sharing, v.scale + 1, v.bound / 2, by=1)

    def phase(self, a: int, period: float) -> tuple[int, float]:
        """The value as a phase (turns of about `period`); returns it with the exact period that an integer factor
        gives.

        Raises ProblemsFound when the range leaves too little of the ring for a phase.
        """
        v = self[a]
        by = int(2.0 ** (PHASE - v.scale) / period)
        if by < 64:
            self.problems.append(
                f"{self.site}: a range of {period:.3g} at scale {v.scale} leaves a factor of {by} for its phase; "
                "64 is the least"
            )
            raise ProblemsFound([Problem("error", "a product would overflow", p) for p in self.problems])
        return self._add("scale", (a,), v.shape, v.sharing, PHASE, inf, by=by), 2.0 ** (PHASE - v.scale) / by

    def sum(self, a: int, axis: int = -1) -> int:
        """Sum over one axis (negative), kept with length 1."""
        v = self[a]
        shape = list(v.shape)
        n, shape[axis] = shape[axis], 1
        return self._add("sum", (a,), tuple(shape), v.sharing, v.scale, v.bound * n, axis=axis)

    def reshape(self, a: int, shape: tuple[int, ...]) -> int:
        """The same elements in another shape."""
        v = self[a]
        if v.shape == shape:
            return a
        if prod(shape) != v.size:
            raise ValueError(f"reshape of {v.shape} to {shape}")
        return self._move("reshape", (a,), shape)

    def permute(self, a: int, axes: tuple[int, ...]) -> int:
        """Axes of the instance shape in another order."""
        shape = self[a].shape
        return self._move("permute", (a,), tuple(shape[i] for i in axes), axes=axes)

    def slice(self, a: int, axis: int, lo: int, hi: int) -> int:
        """Elements lo ≤ i < hi of one axis (negative)."""
        shape = list(self[a].shape)
        if (lo, hi) == (0, shape[axis]):
            return a
        shape[axis] = hi - lo
        i = self._move("slice", (a,), tuple(shape), axis=axis, lo=lo, hi=hi)
        if axis != -1:
            self._norms[i] = self.norm(a)
        return i

    def concat(self, parts: tuple[int, ...], axis: int) -> int:
        """Parts joined along one axis (negative)."""
        shape = list(self[parts[0]].shape)
        shape[axis] = sum(self[p].shape[axis] for p in parts)
        i = self._move("concat", parts, tuple(shape), axis=axis)
        if axis != -1:
            self._norms[i] = max(self.norm(p) for p in parts)
        return i

    def _move(self, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], **attrs: object) -> int:
        v = self[inputs[0]]
        if any((self[i].scale, self[i].sharing) != (v.scale, v.sharing) for i in inputs):
            raise ValueError(f"{kind}: scales or sharings differ")
        return self._add(kind, inputs, shape, v.sharing, v.scale, max(self[i].bound for i in inputs), **attrs)

    # communicating operations

    def trunc(self, a: int, scale: int, gain_bits: int = 0) -> int:
        """The value times 2^gain_bits at a smaller scale, replicated; ±1 unit."""
        v = self[a]
        shift = v.scale - scale - gain_bits
        if not 1 <= shift <= 62:
            raise ValueError(
                f"trunc from scale {v.scale} to {scale} with gain 2^{gain_bits}: shift {shift} is not in 1..62"
            )
        return self._add("trunc", (a,), v.shape, Sharing.REP, scale, v.bound * 2.0**gain_bits, shift=shift)

    def reshare(self, a: int) -> int:
        """An additive value, replicated."""
        v = self[a]
        return self._add("reshare", (a,), v.shape, Sharing.REP, v.scale, v.bound)

    def cos_sin(self, a: int, *, k: int = 16, fc: int = 14, fa: int = 14) -> int:
        """[cos 2πθ, sin 2πθ] along the last axis, from one opening."""
        v = self[a]
        return self._add(
            "cos_sin", (a,), (*v.shape[:-1], 2 * v.shape[-1]), Sharing.REP, fc + fa, 1.001, k=k, fc=fc, fa=fa
        )

    def fourier(self, a: int, fit: Fit) -> int:
        """A fitted periodic function of a phase."""
        if fit.format.ring_bits == 32 and fit.scale + log2(fit.bound) > 30:
            raise ValueError(f"fourier: {fit.bound:.3g} at scale {fit.scale} does not fit the 32-bit ring")
        if fit not in self.fits:
            self.fits.append(fit)
        return self._add("fourier", (a,), self[a].shape, Sharing.REP, fit.scale, fit.bound, fit=self.fits.index(fit))

    def reduce_examples(self, a: int) -> int:
        """Sum over the examples of a set (weights that sum to one, so the bound stays)."""
        v = self[a]
        return self.plan.add(
            "reduce_examples",
            (a,),
            shape=v.shape,
            stage=Stage.CANDIDATE,
            sharing=v.sharing,
            scale=v.scale,
            bound=v.bound,
            site=self.site,
        )


def bits_for(n: float) -> int:
    """Smallest b with n <= 2^b."""
    return ceil(log2(n))
