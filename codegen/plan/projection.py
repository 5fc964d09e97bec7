"""Public pseudorandom matrices: every party, and the oracle, expands the same one from a short key."""

from __future__ import annotations

from math import prod

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray


def public_matrix(seed: str, bits: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers in [−2^(bits−1), 2^(bits−1)).

    Element j is the j-th little-endian int16 of AES-128-CTR(key = `seed` in hex, counter 0, 1, …), shifted right by
    16 − bits arithmetically (docs/program.md, `public`).
    """
    encryptor = Cipher(algorithms.AES(bytes.fromhex(seed)), modes.CTR(bytes(16))).encryptor()
    stream = encryptor.update(bytes(2 * prod(shape)))
    words: NDArray[np.int64] = np.frombuffer(stream, "<i2").astype(np.int64) >> (16 - bits)
    return words.reshape(shape)
