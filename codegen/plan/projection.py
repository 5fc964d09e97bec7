"""The public projection A from the searched vector to a prompt: everybody expands the same one from a short key."""

from __future__ import annotations

import hashlib
import math
from math import prod

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

PUBLIC_BITS = 13
"""The projection's entries are 13-bit integers: a product with them stays small."""


def projection_scale(intrinsic_dim: int) -> int:
    """Fraction bits of the projection A, so that A·z has about unit variance an entry for z ~ N(0, 1).

    A's entries are uniform integers of `PUBLIC_BITS` bits, standard deviation 2^(bits−1)/√3.
    """
    return round(math.log2(2 ** (PUBLIC_BITS - 1) / math.sqrt(3) * math.sqrt(intrinsic_dim)))


def projection_seed(seed: int, index: int = 0) -> str:
    """The AES key, in hex, that makes the projection A of the `index`-th prompt."""
    name = f"secfwt projection {seed}" + (f" {index}" if index else "")
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def public_matrix(seed: str, bits: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers in [−2^(bits−1), 2^(bits−1)).

    Element j is the j-th little-endian int16 of AES-128-CTR(key = `seed` in hex, counter 0, 1, …), shifted right by
    16 − bits arithmetically (docs/program.md, `public`).
    """
    encryptor = Cipher(algorithms.AES(bytes.fromhex(seed)), modes.CTR(bytes(16))).encryptor()
    stream = encryptor.update(bytes(2 * prod(shape)))
    words: NDArray[np.int64] = np.frombuffer(stream, "<i2").astype(np.int64) >> (16 - bits)
    return words.reshape(shape)
