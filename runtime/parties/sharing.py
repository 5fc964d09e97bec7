"""Values to ring elements, ring elements to three messages, three answers back to values (docs/wire.md, "Shares")."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from ...codegen.ring import encoding as fixed_point
from ...codegen.ring.arithmetic import signed
from ...codegen.ring.encoding import Words, decode
from ...codegen.ring.header import InputSpec
from ...codegen.ring.program import PHASE, WORD
from ...codegen.ring.values import HEADROOM
from ..errors import SecfwtError
from .packing import pack, unpack

__all__ = ["Elements", "RangeError", "Words", "decode", "encode", "encoded", "reconstruct", "share"]

Floats = NDArray[np.float64]
Payload = list[bytes | memoryview]

CHUNK = 1 << 20


class RangeError(SecfwtError):
    """A value that the ring cannot hold at its scale."""


@dataclass(frozen=True)
class Elements:
    """Ring elements of one input, of all its instances; what stands above the ring does not count."""

    words: Words
    ring: int = WORD


def encoded(values: Floats, spec: InputSpec, name: str) -> Elements:
    """Values of an input as ring elements.

    What the data owner shares must leave two bits of its ring free, for the lift or truncation that comes first. What
    is lost of weights above their ring nobody reads. Raises RangeError.
    """
    bits = HEADROOM if spec.kind == "weight" else min(HEADROOM, spec.ring - 2)
    return Elements(encode(values, spec.scale, name, bits), spec.ring)


def encode(values: Floats, scale: int, name: str, bits: float = HEADROOM) -> Words:
    """round(value · 2^scale); error at most half a unit, 2^-(scale+1). At scale 64 whole turns are dropped.

    Raises RangeError, which names the input, for values that are not finite or reach 2^bits / 2^scale.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise RangeError(f"{name}: holds values that are not finite")
    largest, limit = float(np.max(np.abs(values), initial=0.0)), 2.0 ** (bits - scale)
    if scale != PHASE and largest >= limit:
        raise RangeError(
            f"{name}: magnitude {largest:.4g} is too large for scale {scale}; values must stay below {limit:.4g}"
        )
    return fixed_point.encode(values, scale)


def share(inputs: Iterable[Elements]) -> tuple[Payload, Payload, Payload]:
    """What parties 0, 1 and 2 receive of inputs in program order: two seeds; a seed, and of each input its ring's bits
    of every element, packed; the same.

    Seeds are fresh from the operating system. Their streams have a word of 64 bits for every element, of which the
    ring's low bits count: the explicit component x₂ is uniform in the ring to whoever lacks one of them.
    """
    seed0, seed1 = os.urandom(16), os.urandom(16)
    streams = [Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor() for seed in (seed0, seed1)]
    explicit = bytearray()
    for each in inputs:
        words = np.ravel(each.words).view(np.uint64)
        packed = [pack(_masked(words[i : i + CHUNK], streams), each.ring) for i in range(0, len(words), CHUNK)]
        explicit += b"".join(packed)
    x2 = memoryview(explicit)
    return [seed0, seed1], [seed1, x2], [x2, seed0]


def _masked(words: NDArray[np.uint64], streams: Sequence[CipherContext]) -> NDArray[np.uint64]:
    rest = words.copy()
    for stream in streams:
        rest -= np.frombuffer(stream.update(bytes(rest.nbytes)), np.uint64)
    return rest


def reconstruct(shares: Sequence[bytes | memoryview], count: int, ring: int = WORD) -> Words:
    """The sum of the parties' additive shares, each `count` packed elements of Z_2^ring, as signed numbers."""
    total = np.zeros(count, np.uint64)
    for each in shares:
        total += unpack(each, count, ring)
    return signed(total.view(np.int64), ring)
