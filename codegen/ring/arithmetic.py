"""Operations of the ring program in numpy, on int64 arrays `[c, e, *shape]` that wrap as Z_2^64 does.

Values are the signed numbers of their rings: the machine reduces every result mod 2^ring (`oracle.py`).

c is 1 or the number of candidates, e is 1 or that of examples. Functions that the operations' table names take the
machine, the value to compute and its inputs; what is one line stands in the table itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..plan.projection import public_matrix
from ..series.fits import Fit
from .encoding import Words, encode
from .program import PHASE, WORD, RingValue

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


class Arithmetic:
    """What operations compute with: the program's fits and inputs, what steps have left, and a product of matrices."""

    def __init__(self, fits: Sequence[Fit], inputs: Mapping[str, Words]) -> None:
        self.fits = fits
        self.inputs = inputs
        self.states: dict[int, Words] = {}
        """By id of a `state`: what `append` has made of it."""
        self.at = 0
        """The row that a step begins with."""

    def product(self, a: Words, b: Words) -> Words:
        """a @ b mod 2^64; batch axes in front."""
        return ring_matmul(a, b)


# inputs


def weight(m: Arithmetic, v: RingValue) -> Words:
    """Given once, or kept."""
    return _given(m, v)[None, None]


def example(m: Arithmetic, v: RingValue) -> Words:
    """Given for every example."""
    return _given(m, v)[None]


def candidate(m: Arithmetic, v: RingValue) -> Words:
    """Given for every candidate."""
    return _given(m, v)[:, None]


def _given(m: Arithmetic, v: RingValue) -> Words:
    x = m.inputs[v.attrs["name"]]
    if x.shape[x.ndim - len(v.shape) :] != v.shape:
        raise ValueError(f"input {v.attrs['name']}: shape {x.shape}, the program wants {v.shape}")
    return x


def public(m: Arithmetic, v: RingValue) -> Words:
    """Expanded from its seed."""
    return public_matrix(v.attrs["seed"], v.attrs["bits"], v.shape)[None, None]


def table(m: Arithmetic, v: RingValue) -> Words:
    """Given in the text."""
    return np.array(v.attrs["numbers"], np.int64).reshape(1, 1, *v.shape)


def state(m: Arithmetic, v: RingValue) -> Words:
    """What it has become."""
    return m.states.get(v.id, np.zeros((1, 1, *v.shape), np.int64))


# local operations


def append(m: Arithmetic, v: RingValue, state: Words, rows: Words) -> Words:
    """Rows written into a state, which keeps them."""
    made = np.broadcast_to(state, (*np.broadcast_shapes(state.shape[:2], rows.shape[:2]), *v.shape)).copy()
    made[:, :, m.at : m.at + rows.shape[2]] = rows
    m.states[v.inputs[0]] = made
    return made


def matmul(m: Arithmetic, v: RingValue, a: Words, b: Words) -> Words:
    """a @ b; where b is one matrix for all, as one product of all rows."""
    if b.size == b.shape[-2] * b.shape[-1]:
        flat = m.product(a.reshape(-1, a.shape[-1]), b.reshape(b.shape[-2:]))
        return flat.reshape(*a.shape[:-1], b.shape[-1])
    return m.product(a, b)


def concat(m: Arithmetic, v: RingValue, *parts: Words) -> Words:
    """Parts side by side, each repeated for candidates or examples that it does not depend on."""
    c, e = (max(p.shape[i] for p in parts) for i in (0, 1))
    return np.concatenate([np.broadcast_to(p, (c, e, *p.shape[2:])) for p in parts], axis=v.attrs["axis"])


def cut(m: Arithmetic, v: RingValue, a: Words) -> Words:
    """Elements lo ≤ i < hi of one axis."""
    where = [slice(None)] * a.ndim
    where[v.attrs["axis"]] = slice(v.attrs["lo"], v.attrs["hi"])
    return a[tuple(where)]


# protocols, without their noise


def nearest(m: Arithmetic, v: RingValue, a: Words) -> Words:
    """a / 2^shift, rounded to nearest."""
    shift = np.int64(v.attrs["shift"])
    return (a + (np.int64(1) << (shift - np.int64(1)))) >> shift


def signed(a: Words, ring: int) -> Words:
    """The number in [-2^(ring-1), 2^(ring-1)) that is a mod 2^ring."""
    free = np.int64(WORD - ring)
    return (a << free) >> free


def cos_sin(m: Arithmetic, v: RingValue, a: Words) -> Words:
    """cos 2πθ and sin 2πθ of the opened phase θ, each rounded once."""
    angle = 2 * np.pi * _opened(a, v.attrs["k"])
    return encode(np.concatenate([np.cos(angle), np.sin(angle)], axis=-1), v.scale)


def fourier(m: Arithmetic, v: RingValue, a: Words) -> Words:
    """The series at the opened phase, rounded once."""
    fit = m.fits[v.attrs["fit"]]
    return encode(fit(_opened(a, fit.format.phase_bits)), v.scale)


def _opened(a: Words, k: int) -> NDArray[np.float64]:
    """The phase in turns at the resolution that is opened: the middle of what k bits leave open."""
    return np.ldexp((a >> np.int64(PHASE - k)).astype(np.float64) + 0.5, -k)
