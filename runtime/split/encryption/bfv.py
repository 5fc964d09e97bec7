"""Encryption under which the server computes: BFV (Fan, Vercauteren 2012) by Microsoft SEAL.

A plaintext is a polynomial of `DEGREE` coefficients, or as many slots. SEAL encrypts, decrypts, adds and switches
moduli; what is multiplied, and how, is `batch.py`'s and `row.py`'s.

Parameters: ring dimension 8192, two primes of 60 bits and the one that SEAL keeps for key switching, 180 of the 218
bits that the HomomorphicEncryption.org standard (2018, table 1) allows for 128 bits of security with ternary secrets.

What comes back to the data owner is a fresh encryption of its content, as far as it can tell (`Answering`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from . import randomness
from .fixed import Words, mod, shifted

if TYPE_CHECKING:
    import seal

T = TypeVar("T")
DEGREE = 8192
"""The ring's dimension."""
MODULUS_BITS = 41
PRIME_BITS = 60
PRIMES = 2
FLOOD_BITS = 77
"""Noise is flooded by uniform integers below 2^77. What is to be hidden of a coefficient is noise with a deviation of
3.2 times the Euclidean length of M's row, 2^16 (`fixed.py`), and of those that share its polynomial: by magnitude
2^17.4 in the mean, times the root of their number. A coefficient's distribution changes by that, over 2^77. So those of
a batch of 8,192 rows change by 2^-46.6 per number that is told: 2^-43 for 8, 2^-39 for 192. Those of a row by itself
change by 2^-55 for 8 numbers, four of which share a polynomial, and by 2^-50 for 192. This adds up over calls.

All noise is below half a unit of the plaintext, 2^78; after the switch to one prime, where rounding adds less than 2^8,
below 2^18."""
HEADER_BYTES = 113
"""Of a ciphertext that SEAL writes without compression: before its coefficients, little-endian words."""
PLAIN_HEADER_BYTES = 88
"""Of a plaintext likewise."""


class Scheme:
    """The parameters, which both sides know."""

    def __init__(self) -> None:
        self.seal = library()
        parameters = self.seal.EncryptionParameters(self.seal.scheme_type.bfv)
        parameters.set_poly_modulus_degree(DEGREE)
        parameters.set_coeff_modulus(self.seal.CoeffModulus.Create(DEGREE, [PRIME_BITS] * (PRIMES + 1)))
        parameters.set_plain_modulus(self.seal.PlainModulus.Batching(DEGREE, MODULUS_BITS))
        self.context = self.seal.SEALContext(parameters, True, self.seal.sec_level_type.tc128)
        assert self.context.parameters_set(), self.context.parameter_error_message()
        self.modulus: int = parameters.plain_modulus().value()
        self.primes: list[int] = [prime.value() for prime in parameters.coeff_modulus()[:PRIMES]]
        self.encoder = self.seal.BatchEncoder(self.context)
        self._plain_header = bytes(self.encoder.encode(np.ones(DEGREE, np.uint64)).to_bytes())[:PLAIN_HEADER_BYTES]

    @property
    def fresh_bytes(self) -> int:
        """Of a ciphertext that the data owner sends."""
        return HEADER_BYTES + 2 * PRIMES * DEGREE * 8

    @property
    def answer_bytes(self) -> int:
        """Of one that comes back."""
        return HEADER_BYTES + 2 * DEGREE * 8

    def slots(self, numbers: Words) -> seal.Plaintext:
        """Of `DEGREE` numbers below the modulus."""
        return self.encoder.encode(numbers)

    def polynomial(self, numbers: Words) -> seal.Plaintext:
        """With `DEGREE` numbers below the modulus as coefficients, the lowest first."""
        plain = self.seal.Plaintext()
        plain.load_bytes(self.context, self._plain_header + numbers.tobytes())
        return plain

    def load(self, data: bytes | memoryview, level: Sequence[int]) -> seal.Ciphertext:
        """A ciphertext of a level of the chain of moduli. Raises InputError for what is none."""
        ciphertext = self.seal.Ciphertext()
        read(lambda given: ciphertext.load_bytes(self.context, given), data, "a ciphertext")
        if list(ciphertext.parms_id()) != list(level) or ciphertext.size() != 2 or ciphertext.is_ntt_form():
            raise InputError("what was sent is a ciphertext of another form or level")
        return ciphertext

    def load_fresh(self, data: bytes | memoryview) -> seal.Ciphertext:
        """One that the data owner sent. Raises InputError."""
        return self.load(data, self.context.first_parms_id())

    def coefficients(self, fresh: seal.Ciphertext) -> Words:
        """Of its polynomials, `[2, PRIMES, DEGREE]`, to be read only."""
        return np.frombuffer(self.save(fresh), "<u8", offset=HEADER_BYTES).reshape(2, PRIMES, DEGREE)

    def save(self, ciphertext: seal.Ciphertext) -> bytes:
        """Without compression: a header, then coefficients, polynomial by polynomial and there prime by prime."""
        return bytes(ciphertext.to_string(self.seal.compr_mode_type.none))


class Zeros:
    """Fresh encryptions of zero, each used once; they are most of the work, and can be made before they are needed."""

    def __init__(self, make: Callable[[], seal.Ciphertext]) -> None:
        self._make = make
        self._made: list[seal.Ciphertext] = []

    def make_ahead(self, count: int) -> None:
        """So that there are `count`."""
        while len(self._made) < count:
            self._made.append(self._make())

    def take(self) -> seal.Ciphertext:
        """One that nobody else gets."""
        return self._made.pop() if self._made else self._make()


class Keys:
    """The data owner's: a secret key, and the public key that its server encrypts zeros with."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        made = scheme.seal.KeyGenerator(scheme.context)
        secret = made.secret_key()
        self.public: bytes = made.create_public_key().to_string()
        encryptor, zero = scheme.seal.Encryptor(scheme.context, secret), scheme.slots(np.zeros(DEGREE, np.uint64))
        self._decryptor = scheme.seal.Decryptor(scheme.context, secret)
        self._evaluator = scheme.seal.Evaluator(scheme.context)
        self.zeros = Zeros(lambda: encryptor.encrypt_symmetric(zero))
        switched = self._evaluator.mod_switch_to(self.zeros.take(), scheme.context.last_parms_id())
        self._answer_header = scheme.save(switched)[:HEADER_BYTES]

    def encrypt(self, plain: seal.Plaintext) -> bytes:
        """`Scheme.fresh_bytes`."""
        return self._scheme.save(self._evaluator.add_plain(self.zeros.take(), plain))

    def slots(self, answer: bytes | memoryview) -> Words:
        """Numbers of an answer's slots. Raises InputError for what is not an answer."""
        return np.asarray(self._scheme.encoder.decode_uint64(self._decrypt(answer)), np.uint64)

    def polynomial(self, words: Words) -> Words:
        """Coefficients of the plaintext's polynomial, `[DEGREE]`, from an answer's `[2, DEGREE]`. Raises InputError for
        what are none."""
        plain = self._decrypt(self._answer_header + words.tobytes())
        given = np.frombuffer(plain.to_bytes(), "<u8", offset=PLAIN_HEADER_BYTES)
        return np.pad(given, (0, DEGREE - len(given)))  # SEAL leaves high zeros out

    def _decrypt(self, answer: bytes | memoryview) -> seal.Plaintext:
        return self._decryptor.decrypt(self._scheme.load(answer, self._scheme.context.last_parms_id()))


class Answering:
    """The server's: combinations of what the data owner sent become answers that say their content and no more."""

    def __init__(self, scheme: Scheme, public: bytes) -> None:
        self._scheme = scheme
        self._evaluator = scheme.seal.Evaluator(scheme.context)
        self.zeros = Zeros(scheme.seal.Encryptor(scheme.context, load_key(scheme, public)).encrypt_zero)
        self._header = scheme.save(self.zeros.take())[:HEADER_BYTES]

    def answer(self, words: Words, told: slice | NDArray[np.intp], blind: seal.Plaintext | None = None) -> bytes:
        """Of the combination's coefficients `[2, PRIMES, DEGREE]`, which are changed, plus `blind`.

        To it come an encryption of zero under the data owner's public key, so that the second polynomial tells nothing
        of M; uniform noise of `FLOOD_BITS` on the coefficients that are told, so that the first one's noise does not
        either; and the blind. Only then are the moduli switched. Coefficients of the first polynomial that are not
        `told` must not be sent.
        """
        scheme = self._scheme
        count = words[0, 0, told].size
        flood = randomness.fresh(2 * count).reshape(2, count)
        for part, prime in zip(words[0], scheme.primes, strict=True):
            part[told] = mod(part[told] + _flood(flood, prime), prime)
        total = scheme.load_fresh(self._header + words.tobytes())
        self._evaluator.add_inplace(total, self.zeros.take())
        if blind is not None:
            self._evaluator.add_plain_inplace(total, blind)
        self._evaluator.mod_switch_to_inplace(total, scheme.context.last_parms_id())
        return scheme.save(total)


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


def _flood(random: Words, prime: int) -> Words:
    """Numbers of FLOOD_BITS bits, of two random words `[2, n]` each, mod a prime of 60 bits."""
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
