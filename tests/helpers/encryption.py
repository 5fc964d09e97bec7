"""Parameters and a data owner's keys of split mode, made once per process."""

from __future__ import annotations

from functools import cache

from secfwt.runtime.split.encryption.bfv import Keys, Scheme

MODULUS = 2_199_023_190_017
"""Of plaintexts: `Scheme.modulus`, for tests that need no SEAL."""


@cache
def scheme() -> Scheme:
    return Scheme()


@cache
def keys() -> Keys:
    return Keys(scheme())
