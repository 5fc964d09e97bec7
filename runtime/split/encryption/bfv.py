"""B·A·r + s under encryption: BFV (Fan, Vercauteren 2012) by Microsoft SEAL, a batch of tokens per ciphertext.

Slot i of a ciphertext belongs to token i of a batch, one ciphertext to each feature: a product with public integers is
then a linear combination of ciphertexts, and no key but the data owner's is needed. SEAL encrypts, decrypts, adds and
switches moduli; the linear combinations are exact products of matrices on the ciphertexts' coefficients.

Parameters: ring dimension 8192, three primes of 54 bits and the one that SEAL keeps for key switching, 216 of the 218
bits that the HomomorphicEncryption.org standard (2018, table 1) allows for 128 bits of security with ternary secrets.

What comes back to the data owner is a fresh encryption of B·A·r + s, as far as it can tell (`Evaluation.answer`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...errors import InputError
from . import randomness
from .fixed import Adapter, Words, mod, product, shifted

if TYPE_CHECKING:
    import seal

T = TypeVar("T")
TOKENS = 8192
"""The ring's dimension, and the tokens of a batch."""
MODULUS_BITS = 41
PRIME_BITS = 54
PRIMES = 3
FLOOD_BITS = 104
"""Noise is flooded by uniform integers below 2^104. What is to be hidden is below 2^38: a fresh coefficient's noise has
a deviation of 3.2, a row of B·A a Euclidean length below 2^32, or sums could reach half the modulus (`fixed.py`), and
ten deviations of the combination are 2^37. So a coefficient's distribution changes by 2^-66, those of a batch of 4,608
outputs by 2^-41. All noise is far below half a unit of the plaintext, 2^120, and after the switch to one prime rounding
alone is left: below 2^8 (twelve deviations of 21) of 2^12."""
HEADER_BYTES = 113
"""Of a ciphertext that SEAL writes without compression: before its coefficients, little-endian words."""


class Scheme:
    """The parameters, which both sides know."""

    def __init__(self) -> None:
        self.seal = library()
        parameters = self.seal.EncryptionParameters(self.seal.scheme_type.bfv)
        parameters.set_poly_modulus_degree(TOKENS)
        parameters.set_coeff_modulus(self.seal.CoeffModulus.Create(TOKENS, [PRIME_BITS] * (PRIMES + 1)))
        parameters.set_plain_modulus(self.seal.PlainModulus.Batching(TOKENS, MODULUS_BITS))
        self.context = self.seal.SEALContext(parameters, True, self.seal.sec_level_type.tc128)
        assert self.context.parameters_set(), self.context.parameter_error_message()
        self.modulus: int = parameters.plain_modulus().value()
        self.primes: list[int] = [prime.value() for prime in parameters.coeff_modulus()[:PRIMES]]
        self.encoder = self.seal.BatchEncoder(self.context)

    @property
    def fresh_bytes(self) -> int:
        """Of a ciphertext that the data owner sends."""
        return HEADER_BYTES + 2 * PRIMES * TOKENS * 8

    @property
    def answer_bytes(self) -> int:
        """Of one that comes back."""
        return HEADER_BYTES + 2 * TOKENS * 8

    def load(self, data: bytes | memoryview, level: Sequence[int]) -> seal.Ciphertext:
        """A ciphertext of a level of the chain of moduli. Raises InputError for what is none."""
        ciphertext = self.seal.Ciphertext()
        read(lambda given: ciphertext.load_bytes(self.context, given), data, "a ciphertext")
        if list(ciphertext.parms_id()) != list(level) or ciphertext.size() != 2 or ciphertext.is_ntt_form():
            raise InputError("what was sent is a ciphertext of another form or level")
        return ciphertext


class Keys:
    """The data owner's: a secret key, and the public key that its server encrypts zeros with."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        made = scheme.seal.KeyGenerator(scheme.context)
        secret = made.secret_key()
        self.public: bytes = made.create_public_key().to_string()
        self._encryptor = scheme.seal.Encryptor(scheme.context, secret)
        self._decryptor = scheme.seal.Decryptor(scheme.context, secret)

    def encrypt(self, numbers: Words) -> bytes:
        """One number below the modulus per token."""
        plain = self._scheme.encoder.encode(numbers)
        return bytes(self._encryptor.encrypt_symmetric(plain).to_string(self._scheme.seal.compr_mode_type.none))

    def decrypt(self, answer: bytes | memoryview) -> Words:
        """One number per token. Raises InputError for what is not an answer."""
        ciphertext = self._scheme.load(answer, self._scheme.context.last_parms_id())
        plain = self._decryptor.decrypt(ciphertext)
        return np.asarray(self._scheme.encoder.decode_uint64(plain), np.uint64)


class Evaluation:
    """The server's side of one batch of one call: encrypted rows r go in feature by feature, B·A·r + s comes out."""

    def __init__(self, scheme: Scheme, public: bytes, adapter: Adapter) -> None:
        self._scheme = scheme
        self._adapter = adapter
        self._evaluator = scheme.seal.Evaluator(scheme.context)
        self._encryptor = scheme.seal.Encryptor(scheme.context, load_key(scheme, public))
        self._reduced = [np.zeros((len(adapter.down), 2 * TOKENS), np.uint64) for _ in scheme.primes]
        self._taken = 0
        self._header = b""

    def take(self, ciphertexts: Sequence[bytes | memoryview]) -> None:
        """The next features' ciphertexts. Raises InputError."""
        scheme = self._scheme
        for data in ciphertexts:
            scheme.load(data, scheme.context.first_parms_id())  # its coefficients are below their primes, too
        self._header = bytes(ciphertexts[0][:HEADER_BYTES])
        words = np.stack([np.frombuffer(data, "<u8", offset=HEADER_BYTES) for data in ciphertexts])
        part = self._adapter.down[:, self._taken : self._taken + len(words)]
        self._taken += len(words)
        for reduced, prime, of_prime in zip(self._reduced, scheme.primes, _by_prime(words), strict=True):
            reduced[:] = mod(reduced + product(part, of_prime, prime), prime)

    def answer(self, first: int, blinds: Words) -> list[bytes]:
        """Encryptions of the outputs from `first` on plus `blinds` `[n, TOKENS]`.

        To a linear combination of what the data owner sent come an encryption of zero under its public key, so that
        the second polynomial tells nothing of B·A; uniform noise of `FLOOD_BITS`, so that the first one's noise does
        not either; and the blind. Only then are the moduli switched.
        """
        up = self._adapter.up[first : first + len(blinds)]
        parts = [product(up, part, prime) for part, prime in zip(self._reduced, self._scheme.primes, strict=True)]
        return [self._finish([part[i] for part in parts], np.ascontiguousarray(blinds[i])) for i in range(len(blinds))]

    def _finish(self, parts: list[Words], blind: Words) -> bytes:
        scheme = self._scheme
        flood = randomness.fresh(2 * TOKENS).reshape(2, TOKENS)
        for part, prime in zip(parts, scheme.primes, strict=True):
            part[:TOKENS] = mod(part[:TOKENS] + _flood(flood, prime), prime)
        # polynomials one behind the other, each prime by prime
        words = np.stack([part.reshape(2, TOKENS) for part in parts], axis=1)
        total = scheme.load(self._header + words.tobytes(), scheme.context.first_parms_id())
        self._evaluator.add_inplace(total, self._encryptor.encrypt_zero())
        self._evaluator.add_plain_inplace(total, scheme.encoder.encode(blind))
        self._evaluator.mod_switch_to_inplace(total, scheme.context.last_parms_id())
        return bytes(total.to_string(scheme.seal.compr_mode_type.none))


def read(load: Callable[[bytes], T], data: bytes | memoryview, what: str) -> T:
    """What SEAL makes of its own bytes. Raises InputError for what it does not take, and for what it would unpack, or
    read a part of: a header says how (compression, byte 5) and how much (8 bytes from byte 8)."""
    if len(data) < 16 or data[5] != 0 or int.from_bytes(data[8:16], "little") != len(data):
        raise InputError(f"what was sent is not {what} of these parameters: compressed, or of another size")
    try:
        return load(bytes(data))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"what was sent is not {what} of these parameters: {error}") from error


def load_key(scheme: Scheme, public: bytes) -> seal.PublicKey:
    """Raises InputError for what is not a public key of these parameters."""
    return read(scheme.context.from_public_str, public, "a public key")


def _by_prime(words: Words) -> list[Words]:
    """Of ciphertexts `[k, 2·PRIMES·TOKENS]`: the coefficients of both polynomials mod each prime, `[k, 2·TOKENS]`."""
    split = words.reshape(len(words), 2, PRIMES, TOKENS)
    return [np.ascontiguousarray(split[:, :, i]).reshape(len(words), -1) for i in range(PRIMES)]


def _flood(random: Words, prime: int) -> Words:
    """Numbers of FLOOD_BITS bits, of two random words `[2, n]` each, mod a prime of 54 bits."""
    more = random[1] >> np.uint64(128 - FLOOD_BITS)
    return shifted(mod(random[0], prime).view(np.int64), FLOOD_BITS - 64, more.view(np.int64), prime)


@cache
def library() -> Any:
    """SEAL's bindings, an optional dependency. Raises InputError where they are not installed."""
    try:
        import seal
    except ImportError as error:
        raise InputError("SEAL is not installed: pip install 'secfwt[split]'") from error
    return seal
