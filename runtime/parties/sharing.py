"""Values to ring elements, ring elements to three messages, three answers back to values (docs/wire.md, "Words")."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from ...codegen.ring import encoding as fixed_point
from ...codegen.ring.encoding import Words, decode
from ...codegen.ring.program import PHASE
from ...codegen.ring.values import HEADROOM
from ..errors import SecfwtError

__all__ = ["RangeError", "Words", "decode", "encode", "join", "reconstruct", "share"]

Floats = NDArray[np.float64]
Payload = list[bytes | memoryview]

LIMIT = 2.0**HEADROOM
"""Magnitude that ring elements must stay below for truncation (docs/program.md)."""
CHUNK = 1 << 20


class RangeError(SecfwtError):
    """A value that the ring cannot hold at its scale."""


def encode(values: Floats, scale: int, name: str) -> Words:
    """round(value · 2^scale); error at most half a unit, 2^-(scale+1). At scale 64 whole turns are dropped.

    Raises RangeError, which names the input, for values that are not finite or reach 2^62 / 2^scale.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise RangeError(f"{name}: holds values that are not finite")
    largest, limit = float(np.max(np.abs(values), initial=0.0)), LIMIT / 2.0**scale
    if scale != PHASE and largest >= limit:
        raise RangeError(
            f"{name}: magnitude {largest:.4g} is too large for scale {scale}; values must stay below {limit:.4g}"
        )
    return fixed_point.encode(values, scale)


def join(parts: Iterable[Words]) -> Words:
    """Inputs in program order as one vector."""
    flat = [np.ravel(part) for part in parts]
    return np.concatenate(flat) if flat else np.empty(0, np.int64)


def share(words: Words) -> tuple[Payload, Payload, Payload]:
    """Split a vector into what parties 0, 1 and 2 receive: two seeds; a seed and 8 bytes an element; the same.

    Seeds are fresh from the operating system. Overwrites `words`, which becomes the explicit component x₂.
    """
    seed0, seed1 = os.urandom(16), os.urandom(16)
    rest = words.view(np.uint64)
    streams = [Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor() for seed in (seed0, seed1)]
    zeros = bytes(8 * min(CHUNK, len(rest)))
    for start in range(0, len(rest), CHUNK):
        part = rest[start : start + CHUNK]
        for stream in streams:
            part -= np.frombuffer(stream.update(memoryview(zeros)[: part.nbytes]), np.uint64)
    x2 = rest.data.cast("B") if len(rest) else memoryview(b"")
    return [seed0, seed1], [seed1, x2], [x2, seed0]


def reconstruct(shares: Sequence[NDArray[np.uint64]]) -> Words:
    """The sum of the parties' additive shares."""
    total = shares[0].copy()
    for each in shares[1:]:
        total += each
    return total.view(np.int64)
