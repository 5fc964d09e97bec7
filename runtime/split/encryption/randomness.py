"""Random bytes: AES in counter mode under keys from the operating system."""

from __future__ import annotations

import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .fixed import Words

KEY_BYTES = 16
COUNTER_BYTES = 16


def stream(key: bytes, counter: bytes, count: int) -> Words:
    """`count` words of the stream that begins at a counter's block."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    return np.frombuffer(cipher.update(bytes(8 * count)), np.uint64)


def fresh(count: int) -> Words:
    """`count` words under a key of their own, which is forgotten."""
    return stream(secrets.token_bytes(KEY_BYTES), bytes(COUNTER_BYTES), count)
