"""Rules of the ring program's operations: what keys may be, and what a result's shape, sharing and scale are.

The VM derives the same from the text on its own (vm/mpc/program_check.cpp): two derivations are the check. A rule
raises ValueError where the inputs do not fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np

from ..plan.graph import Stage
from ..series.fits import MOST_SCALE, Format
from .program import PHASE, WORD, Shape, Sharing, Use

OPENED_BITS = 3
"""Least bits that a shift leaves where they are opened (`trunc` with `rounds`): their roundings need room."""
T = TypeVar("T")
Rule = Callable[[Use], T]


# keys


@dataclass(frozen=True)
class Key:
    """What a key may be, in words (empty where its name says enough) and as a test."""

    words: str
    holds: Callable[[Any], bool]


def between(least: int, most: int) -> Key:
    """Integers from `least` to `most`."""
    return Key(f"{least}…{most}", range(least, most + 1).__contains__)


def one_of(*accepted: int) -> Key:
    """Some integers."""
    return Key(" or ".join(map(str, accepted)), accepted.__contains__)


NAME = Key("", lambda name: bool(re.fullmatch(r'[!"$-~]+', name)))  # printable ASCII without spaces and #
SEED = Key("32 hexadecimal digits", lambda seed: bool(re.fullmatch("[0-9a-f]{32}", seed)))
HASH = Key("64 hexadecimal digits", lambda digest: bool(re.fullmatch("[0-9a-f]{64}", digest)))
NUMBERS = Key("from −65535 to 65535", lambda numbers: all(abs(n) < 1 << 16 for n in numbers))
INTEGER = Key("signed integer", range(-(2**63), 2**63).__contains__)
AXIS = Key("negative", lambda axis: axis < 0)
COUNT = Key("", lambda count: count >= 0)
AXES = Key("from 0", lambda axes: min(axes) == 0)


# shape


def asked_shape(use: Use) -> Shape:
    """What the use says."""
    return use.shape


def tabled(use: Use) -> Shape:
    """What the use says, if that has as many elements as there are numbers."""
    if prod(use.shape) != len(use["numbers"]):
        raise ValueError(f"{len(use['numbers'])} numbers found, its shape has {prod(use.shape)}")
    return use.shape


def same_shape(use: Use) -> Shape:
    """That of the input."""
    return use.inputs[0].shape


def broadcast(use: Use) -> Shape:
    """numpy's rule for elementwise operations."""
    return np.broadcast_shapes(*(v.shape for v in use.inputs))


def matrix_product(use: Use) -> Shape:
    """`[…, m, k]` and `[…, k, n]` to `[…, m, n]`; further axes broadcast."""
    a, b = (v.shape for v in use.inputs)
    if min(len(a), len(b)) < 2 or a[-1] != b[-2]:
        raise ValueError(f"shapes {a} and {b} are no matrices that fit")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def reshaped(use: Use) -> Shape:
    """What the use says, if that has as many elements."""
    if prod(use.shape) != use.inputs[0].size:
        raise ValueError(f"{use.inputs[0].shape} cannot become {use.shape}")
    return use.shape


def permuted(use: Use) -> Shape:
    """Axes in the order of `axes`."""
    shape = use.inputs[0].shape
    if sorted(use["axes"]) != list(range(len(shape))):
        raise ValueError(f"axes {use['axes']} do not name every axis of {shape} once")
    return tuple(shape[i] for i in use["axes"])


def summed(use: Use) -> Shape:
    """`axis` has length 1."""
    return _with_axis(use, lambda length: 1)


def sliced(use: Use) -> Shape:
    """`axis` has length hi - lo."""

    def part(length: int) -> int:
        if not 0 <= use["lo"] < use["hi"] <= length:
            raise ValueError(f"lo={use['lo']} hi={use['hi']} are not within 0…{length}")
        return int(use["hi"] - use["lo"])

    return _with_axis(use, part)


def joined(use: Use) -> Shape:
    """`axis` has the length of all inputs' together; the other axes agree."""
    axis, shapes = use["axis"], [v.shape for v in use.inputs]
    rest = {(*shape[:axis], *shape[len(shape) + axis + 1 :]) for shape in shapes}
    if len(rest) > 1 or len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"shapes {shapes} differ beside axis {axis}")
    return _with_axis(use, lambda length: sum(shape[axis] for shape in shapes))


def windowed(use: Use) -> Shape:
    """`rows` rows, the first axis, of what the setup stage has made."""
    first, *rest = use.inputs[0].shape
    if use.inputs[0].stage != Stage.SETUP:
        raise ValueError(f"the input's stage is {use.inputs[0].stage.label}, it must be setup")
    if not 1 <= use["rows"] <= first:
        raise ValueError(f"rows is {use['rows']}, the input has {first}")
    return (use["rows"], *rest)


def appended(use: Use) -> Shape:
    """A state's, which holds the rows."""
    state, rows = use.inputs
    if state.kind != "state" or not rows.stage & Stage.CANDIDATE:
        raise ValueError(
            f"{rows.kind} of stage {rows.stage.label} is appended to {state.kind}: rows of a step go to a state"
        )
    if rows.shape[1:] != state.shape[1:] or rows.shape[0] > state.shape[0]:
        raise ValueError(f"rows {rows.shape} do not fit a state {state.shape}")
    return state.shape


def doubled(use: Use) -> Shape:
    """The last axis twice as long."""
    *rest, last = use.inputs[0].shape
    return (*rest, 2 * last)


def _with_axis(use: Use, length: Callable[[int], int]) -> Shape:
    shape, axis = list(use.inputs[0].shape), use["axis"]
    if not -len(shape) <= axis <= -1:
        raise ValueError(f"axis is {axis}, the input has the shape {use.inputs[0].shape}")
    shape[axis] = length(shape[axis])
    return tuple(shape)


# sharing


def replicated(use: Use) -> Sharing:
    """Shared by its owner, or by a protocol whose input is shared."""
    if any(v.sharing is Sharing.PUB for v in use.inputs):
        raise ValueError("the input is public, it must be shared")
    return Sharing.REP


def all_replicated(use: Use) -> Sharing:
    """Of replicated values alone."""
    if any(v.sharing is not Sharing.REP for v in use.inputs):
        raise ValueError(f"sharings are {', '.join(v.sharing.value for v in use.inputs)}, they must be rep")
    return Sharing.REP


def public(use: Use) -> Sharing:
    """Everyone knows it."""
    return Sharing.PUB


def held(use: Use) -> Sharing:
    """Replicated from replicated."""
    if use.inputs[0].sharing is not Sharing.REP:
        raise ValueError(f"the input's sharing is {use.inputs[0].sharing.value}, it must be rep")
    return Sharing.REP


def reshared(use: Use) -> Sharing:
    """Replicated from additive."""
    if use.inputs[0].sharing is not Sharing.ADD:
        raise ValueError(f"the input's sharing is {use.inputs[0].sharing.value}, it must be add")
    return Sharing.REP


def same_sharing(use: Use) -> Sharing:
    """That of the input."""
    return use.inputs[0].sharing


def product(use: Use) -> Sharing:
    """Of two replicated values additive; a public factor changes nothing."""
    a, b = (v.sharing for v in use.inputs)
    if Sharing.PUB in (a, b):
        return b if a is Sharing.PUB else a
    if Sharing.ADD in (a, b):
        raise ValueError("an additive factor can meet a public one only: reshare it first")
    return Sharing.ADD


def weakest(use: Use) -> Sharing:
    """What all inputs can be turned into without a message: pub → rep → add."""
    sharings = {v.sharing for v in use.inputs}
    return next(s for s in (Sharing.ADD, Sharing.REP, Sharing.PUB) if s in sharings)


# scale


def asked_scale(use: Use) -> int:
    """What the use says."""
    return use.scale


def same_scale(use: Use) -> int:
    """That of all inputs."""
    scales = {v.scale for v in use.inputs}
    if len(scales) > 1:
        raise ValueError(f"the inputs' scales differ: {', '.join(map(str, sorted(scales)))}")
    return scales.pop()


def added_scales(use: Use) -> int:
    """Of a product."""
    return sum(v.scale for v in use.inputs)


def phasor_scale(use: Use) -> int:
    """fc + fa - shift of a phase's cosine and sine."""
    _check_phase(use)
    scale = int(use["fc"] + use["fa"])
    if scale > MOST_SCALE:
        raise ValueError(f"fc + fa is {scale}, must be at most {MOST_SCALE}")
    return scale - int(use["shift"])


def precision(use: Use) -> Format:
    """How a phase's cosine and sine are computed."""
    return Format(
        phase_bits=use["k"], amplitude_bits=use["fc"], phasor_bits=use["fa"], ring_bits=use["sum"]
    )  # fmt: skip


def fitted_scale(use: Use) -> int:
    """fc + fa of the fit, less the shift, of a phase."""
    _check_phase(use)
    return use.fit.scale - int(use["shift"])


def _check_phase(use: Use) -> None:
    if use.inputs[0].scale != PHASE:
        raise ValueError(f"the input has scale {use.inputs[0].scale}, a phase has {PHASE}")


# ring


def least_ring(use: Use) -> int:
    """That of the narrowest input: what is right mod 2^R stays so."""
    return min((v.ring for v in use.inputs), default=WORD)


def scaled_ring(use: Use) -> int:
    """A multiple of 2^n is right mod 2^(R+n)."""
    by = abs(use["by"])
    return min(WORD, use.inputs[0].ring + ((by & -by).bit_length() - 1 if by else WORD))


def asked_ring(use: Use) -> int:
    """What the use says."""
    return int(use["ring"])


def part_of_ring(use: Use) -> int:
    """What the use says, at most the input's."""
    if use["ring"] > use.inputs[0].ring:
        raise ValueError(f"ring is {use['ring']}, the input's is {use.inputs[0].ring}")
    return int(use["ring"])


def larger_ring(use: Use) -> int:
    """What the use says, more than the input's."""
    if use["ring"] <= use.inputs[0].ring:
        raise ValueError(f"ring is {use['ring']}, the input's is {use.inputs[0].ring}")
    return int(use["ring"])


def truncated_ring(use: Use) -> int:
    """What the use says; the shift leaves something of the input's, and with `rounds` less than the result's."""
    (a,), shift, ring = use.inputs, int(use["shift"]), int(use["ring"])
    if shift >= a.ring - 1:
        raise ValueError(f"shift is {shift}, the input's ring has {a.ring} bits")
    if "rounds" in use.keys:
        if a.sharing is not Sharing.ADD:
            raise ValueError(f"rounds=2 is for an additive input, its sharing is {a.sharing.value}")
        if not OPENED_BITS <= a.ring - shift < ring:
            raise ValueError(
                f"rounds=2 is for a shift that leaves {OPENED_BITS} to {ring - 1} bits of the input's ring, "
                f"not {a.ring - shift}"
            )
    return ring


def ring_of_phase(use: Use) -> int:
    """What the use says, of a phase with all its bits."""
    if use.inputs[0].ring != WORD:
        raise ValueError(f"the input's ring has {use.inputs[0].ring} bits, a phase has {WORD}")
    return int(use["ring"])
