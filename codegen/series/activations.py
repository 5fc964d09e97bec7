"""Activations of feed-forward networks, one row each: whoever asks what is supported asks this table.

act(u) = u/2 + e(u) with e even: the linear half is folded into weights by the model owner, and only e becomes a series
(docs/protocols.md). torch (`runtime/adaptation/student.py`) and the MP-SPDZ library (`mpc_programs/lib/activations.py`)
have one function per row of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf

import numpy as np

from .elementary import Floats, Function, gelu, gelu_new, identity, relu, silu, tanh
from .names import DecoderActivationName

LINEAR_ERROR = 5e-3
"""How far an even part, or its fit, may be from |u|/2 where `linear_beyond` calls it linear."""
_erf = np.vectorize(erf, otypes=[np.float64])  # libm's: the digits of fits, and so a program's hash, depend on it


@dataclass(frozen=True)
class Activation:
    """One activation and what its series needs to know."""

    name: DecoderActivationName
    exact: Function
    even_part: Function
    """exact(u) - u/2."""
    linear_beyond: float
    """From this |u| on, the even part and its fit are |u|/2 to `LINEAR_ERROR`."""
    counts: tuple[int, ...]
    """Numbers of harmonics that a fit chooses from."""
    smooth: bool
    """Whether MP-SPDZ's kernel is a series as well, which must know the `reach` of its inputs; else it compares."""


def gelu_even(u: Floats) -> Floats:
    """GELU(u) - u/2 = u·erf(u/√2)/2."""
    return np.asarray(u * _erf(u / np.sqrt(2)) / 2)


def relu_even(u: Floats) -> Floats:
    """ReLU(u) - u/2 = |u|/2."""
    return np.abs(u) / 2


def gelu_new_even(u: Floats) -> Floats:
    """gelu_new(u) - u/2."""
    return gelu_new(u) - u / 2


def silu_even(u: Floats) -> Floats:
    """silu(u) - u/2 = u·tanh(u/2)/2."""
    return np.asarray(u * np.tanh(u / 2) / 2)


ACTIVATIONS: dict[str, Activation] = {
    row.name: row
    for row in (
        Activation("gelu", gelu, gelu_even, linear_beyond=3.0, counts=tuple(range(2, 25)), smooth=True),
        # |u|/2 is linear from 0 on, but its fit rounds the bend off, and the series mirrors the bend beyond the
        # interval. On ±12, 32 harmonics err by 2e-2 at the interval's end if that counts as linear from 0 on; by 1e-3
        # from 3 on.
        Activation("relu", relu, relu_even, linear_beyond=3.0, counts=(16, 24, 32), smooth=False),
    )
}
OF_DECODERS: dict[str, Activation] = ACTIVATIONS | {
    row.name: row
    for row in (
        Activation("gelu_new", gelu_new, gelu_new_even, linear_beyond=3.0, counts=tuple(range(2, 25)), smooth=True),
        Activation("silu", silu, silu_even, linear_beyond=7.0, counts=tuple(range(3, 33)), smooth=True),
    )
}
"""What decoders have besides. `secfwt-convert` has no decoders, and none of these."""
DENSE: dict[str, Function] = {"none": identity, "tanh": tanh} | {row.name: row.exact for row in ACTIVATIONS.values()}
"""What a dense layer of a head may apply, exactly."""
