"""A ring program in numpy on Z_2^64, without parties: what the embedded VM computes, up to its truncation and rounding
noise.

Truncation rounds to nearest (the VM: ±1 unit), fitted functions are evaluated at the opened phase's resolution and
rounded once (the VM: rounding of every harmonic). Everything else is exact modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..plan.graph import Plan, Stage, Value
from ..plan.projection import public_matrix
from ..series.fits import Fit
from .encoding import Words, encode

LIMB = 16


def ring_matmul(a: Words, b: Words) -> Words:
    """a @ b mod 2^64, by products of 16-bit limbs in float64: exact for inner dimensions up to 2^21."""

    def limbs(x: Words) -> list[NDArray[np.float64]]:
        u = x.view(np.uint64)
        return [((u >> np.uint64(LIMB * i)) & np.uint64(0xFFFF)).astype(np.float64) for i in range(4)]

    la, lb = limbs(np.ascontiguousarray(a)), limbs(np.ascontiguousarray(b))
    total: NDArray[np.uint64] | None = None
    for i in range(4):
        for j in range(4 - i):
            part = (la[i] @ lb[j]).astype(np.uint64) << np.uint64(LIMB * (i + j))
            total = part if total is None else total + part
    assert total is not None
    return total.view(np.int64)


def run_program(
    plan: Plan, fits: list[Fit], inputs: Mapping[str, Words], outputs: tuple[str, ...] | None = None
) -> dict[str, Words]:
    """Evaluate outputs of a ring program.

    `inputs`: ring elements by name: weights `[*shape]`, examples `[E, *shape]`, candidates `[C, *shape]`. Returns ring
    elements, `[C, *shape]` for candidate outputs, `[C, E, *shape]` for pair outputs.
    """
    machine = Machine(fits, inputs)
    values: dict[int, Words] = {}
    with np.errstate(over="ignore"):
        for v in plan:
            values[v.id] = machine.run(v, *(values[i] for i in v.inputs))
    result = {}
    for o in plan.outputs:
        if outputs is None or o.name in outputs:
            x = values[o.value]
            result[o.name] = x if plan[o.value].stage & Stage.EXAMPLE else x[:, 0]
    return result


class Machine:
    """One method a kind; values are `[c, e, *shape]`."""

    def __init__(self, fits: list[Fit], inputs: Mapping[str, Words]) -> None:
        self.fits = fits
        self.inputs = inputs

    def run(self, v: Value, *args: Words) -> Words:
        """The value of one operation."""
        result: Words = getattr(self, f"_{v.kind}")(v, *args)
        return result

    def product(self, a: Words, b: Words) -> Words:
        """a @ b mod 2^64; batch axes in front."""
        return ring_matmul(a, b)

    def _weight(self, v: Value) -> Words:
        return self._given(v)[None, None]

    def _example(self, v: Value) -> Words:
        return self._given(v)[None]

    def _candidate(self, v: Value) -> Words:
        return self._given(v)[:, None]

    def _given(self, v: Value) -> Words:
        x = self.inputs[v.attrs["name"]]
        if x.shape[x.ndim - len(v.shape) :] != v.shape:
            raise ValueError(f"input {v.attrs['name']}: shape {x.shape}, the program wants {v.shape}")
        return x

    def _public(self, v: Value) -> Words:
        return public_matrix(v.attrs["seed"], v.attrs["bits"], v.shape)[None, None]

    def _matmul(self, v: Value, a: Words, b: Words) -> Words:
        if b.shape[:2] == (1, 1) and b.ndim == 4:
            flat = self.product(a.reshape(-1, a.shape[-1]), b[0, 0])
            return flat.reshape(*a.shape[:-1], b.shape[-1])
        return self.product(*self._aligned(a, b, keep=2))

    @staticmethod
    def _aligned(a: Words, b: Words, keep: int = 0) -> tuple[Words, Words]:
        """Instance shapes aligned at the right, batch axes in front."""
        rank = max(a.ndim, b.ndim)

        def pad(x: Words) -> Words:
            return x.reshape(*x.shape[:2], *(1,) * (rank - x.ndim), *x.shape[2:])

        return pad(a), pad(b)

    def _mul(self, v: Value, a: Words, b: Words) -> Words:
        a, b = self._aligned(a, b)
        return a * b

    def _add(self, v: Value, a: Words, b: Words) -> Words:
        a, b = self._aligned(a, b)
        return a + b

    def _sub(self, v: Value, a: Words, b: Words) -> Words:
        a, b = self._aligned(a, b)
        return a - b

    def _scale(self, v: Value, a: Words) -> Words:
        return a * np.int64(v.attrs["by"])

    def _sum(self, v: Value, a: Words) -> Words:
        return np.asarray(a.sum(axis=v.attrs["axis"], keepdims=True))

    def _reshape(self, v: Value, a: Words) -> Words:
        return a.reshape(*a.shape[:2], *v.shape)

    def _permute(self, v: Value, a: Words) -> Words:
        return a.transpose(0, 1, *(2 + i for i in v.attrs["axes"]))

    def _concat(self, v: Value, *parts: Words) -> Words:
        c, e = (max(p.shape[i] for p in parts) for i in (0, 1))
        return np.concatenate([np.broadcast_to(p, (c, e, *p.shape[2:])) for p in parts], axis=v.attrs["axis"])

    def _slice(self, v: Value, a: Words) -> Words:
        where = [slice(None)] * a.ndim
        where[v.attrs["axis"]] = slice(v.attrs["lo"], v.attrs["hi"])
        return a[tuple(where)]

    def _trunc(self, v: Value, a: Words) -> Words:
        shift = v.attrs["shift"]
        return (a + (np.int64(1) << np.int64(shift - 1))) >> np.int64(shift)

    def _reshare(self, v: Value, a: Words) -> Words:
        return a

    @staticmethod
    def _turns(a: Words, k: int) -> NDArray[np.float64]:
        """The phase at the resolution that is opened."""
        return np.ldexp((a >> np.int64(64 - k)).astype(np.float64) + 0.5, -k)

    def _cos_sin(self, v: Value, a: Words) -> Words:
        angle = 2 * np.pi * self._turns(a, v.attrs["k"])
        return encode(np.concatenate([np.cos(angle), np.sin(angle)], axis=-1), v.scale)

    def _fourier(self, v: Value, a: Words) -> Words:
        fit = self.fits[v.attrs["fit"]]
        return encode(fit(self._turns(a, fit.format.phase_bits)), fit.scale)

    def _reduce_examples(self, v: Value, a: Words) -> Words:
        return np.asarray(a.sum(axis=1, keepdims=True))
