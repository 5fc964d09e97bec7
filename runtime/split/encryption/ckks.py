"""B·A·x of a single row under encryption: CKKS (Cheon et al. 2017) by Microsoft SEAL, with nothing prepared.

A row is packed into the slots of a ciphertext, and the thin matrices are multiplied diagonal by diagonal (Halevi, Shoup
2014): of R = ranks, rounded up to a power of two, sums of R products of a turned row with a diagonal of A, folded to a
period of R; then as many with diagonals of B, for every 4,096 outputs. Turning a ciphertext costs most, so diagonals go
in baby and giant steps.

An answer's error is about 2^-20 of x, A and B; its noise is not flooded, and may tell more of A and B than B·A·x does.
Whoever asks can solve for B·A anyhow (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from .bfv import HEADER_BYTES, TOKENS, library, read
from .fixed import Floats, Shape

if TYPE_CHECKING:
    import seal

SLOTS = TOKENS // 2
PRIME_BITS = (60, 40, 40, 60)
"""200 of the 218 bits for 128 bits of security (`bfv.py`); two products take 40 each."""
SCALE = 2.0**40
TURNING_BYTES = 1 << 26
"""Keys for 41 steps; a call of 4,096 inputs and 32 ranks needs 16."""


class Packing:
    """How one call is packed, which both sides know."""

    def __init__(self, inputs: int, ranks: int) -> None:
        self.ranks = 1 << max(ranks - 1, 0).bit_length()
        self.period = min(SLOTS, max(self.ranks, 1 << (inputs - 1).bit_length()))
        self.blocks = -(-inputs // self.period)
        self.babies = 1 << (self.ranks.bit_length() // 2)
        """Diagonals that share a giant step."""

    def steps(self) -> set[int]:
        """Rotations that keys are needed for."""
        giants = range(self.babies, self.ranks, self.babies)
        folds = [self.ranks << k for k in range((self.period // self.ranks).bit_length() - 1)]
        return {*range(1, self.babies), *giants, *folds}

    @staticmethod
    def answers(outputs: int) -> int:
        """Ciphertexts that so many outputs come in."""
        return -(-outputs // SLOTS)

    def pack(self, row: Floats) -> Floats:
        """`[blocks, SLOTS]`: each block of a row again and again, so that turning the slots turns it."""
        padded = np.zeros(self.blocks * self.period)
        padded[: len(row)] = row
        return np.tile(padded.reshape(self.blocks, self.period), (1, SLOTS // self.period))


class OnlineScheme:
    """The parameters, which both sides know."""

    def __init__(self) -> None:
        self.seal = library()
        parameters = self.seal.EncryptionParameters(self.seal.scheme_type.ckks)
        parameters.set_poly_modulus_degree(TOKENS)
        parameters.set_coeff_modulus(self.seal.CoeffModulus.Create(TOKENS, PRIME_BITS))
        self.context = self.seal.SEALContext(parameters, True, self.seal.sec_level_type.tc128)
        assert self.context.parameters_set(), self.context.parameter_error_message()
        self.encoder = self.seal.CKKSEncoder(self.context)

    @property
    def row_bytes(self) -> int:
        """Of a ciphertext that the data owner sends."""
        return HEADER_BYTES + 2 * (len(PRIME_BITS) - 1) * TOKENS * 8

    @property
    def sum_bytes(self) -> int:
        """Of one that comes back."""
        return HEADER_BYTES + 2 * TOKENS * 8

    def load(self, data: bytes | memoryview) -> seal.Ciphertext:
        """Raises InputError for what is not a ciphertext of these parameters."""
        ciphertext = self.seal.Ciphertext()
        read(lambda given: ciphertext.load_bytes(self.context, given), data, "a ciphertext")
        if ciphertext.size() != 2 or not ciphertext.is_ntt_form() or ciphertext.coeff_modulus_size() not in (1, 3):
            raise InputError("what was sent is a ciphertext of another form")
        return ciphertext


class OnlineKeys:
    """The data owner's; `turning`: the keys that its server turns ciphertexts with."""

    def __init__(self, scheme: OnlineScheme, packings: list[Packing]) -> None:
        self._scheme = scheme
        made = scheme.seal.KeyGenerator(scheme.context)
        secret = made.secret_key()
        keys = scheme.seal.GaloisKeys()
        steps = sorted(set().union(*(packing.steps() for packing in packings)))
        made.create_galois_keys(steps, keys)
        self.turning: bytes = keys.to_string()
        self._encryptor = scheme.seal.Encryptor(scheme.context, secret)
        self._decryptor = scheme.seal.Decryptor(scheme.context, secret)

    def encrypt(self, slots: Floats) -> bytes:
        """`[SLOTS]` values."""
        plain = self._scheme.encoder.encode(slots, SCALE)
        return bytes(self._encryptor.encrypt_symmetric(plain).to_string(self._scheme.seal.compr_mode_type.none))

    def decrypt(self, answer: bytes | memoryview) -> Floats:
        """Raises InputError."""
        plain = self._decryptor.decrypt(self._scheme.load(answer))
        return np.asarray(self._scheme.encoder.decode(plain), np.float64)


class OnlineProduct:
    """The server's side of one call, with its matrices encoded once."""

    def __init__(self, scheme: OnlineScheme, shape: Shape, down: Floats, up: Floats) -> None:
        """A `[ranks, inputs]` and B `[outputs, ranks]` in real units."""
        self._scheme = scheme
        self.packing = packing = Packing(shape.inputs, len(down))
        wide = np.zeros((packing.ranks, packing.blocks * packing.period))
        wide[: len(down), : shape.inputs] = down
        tall = np.zeros((-(-len(up) // SLOTS) * SLOTS, packing.ranks))
        tall[: len(up), : up.shape[1]] = up
        slots, context = np.arange(SLOTS), scheme.context
        first = context.first_parms_id()
        second = context.get_context_data(first).next_context_data().parms_id()
        across = slots % packing.ranks
        self._down = [
            self._diagonals([block[across, (slots + i) % packing.period] for i in range(packing.ranks)], first)
            for block in np.split(wide, packing.blocks, axis=1)
        ]
        self._up = [
            self._diagonals([block[slots, (slots + i) % packing.ranks] for i in range(packing.ranks)], second)
            for block in np.split(tall, len(tall) // SLOTS)
        ]

    def answer(self, keys: seal.GaloisKeys, ciphertexts: Sequence[bytes | memoryview]) -> list[bytes]:
        """Encryptions of the outputs, SLOTS each. Raises InputError."""
        evaluator, packing = self._scheme.seal.Evaluator(self._scheme.context), self.packing
        if len(ciphertexts) != packing.blocks:
            raise InputError(f"{len(ciphertexts)} ciphertexts were sent, {packing.blocks} expected")
        parts = [
            self._sum(evaluator, keys, self._scheme.load(data), diagonals)
            for data, diagonals in zip(ciphertexts, self._down, strict=True)
        ]
        total = evaluator.add_many(parts) if len(parts) > 1 else parts[0]
        evaluator.rescale_to_next_inplace(total)
        step = packing.ranks
        while step < packing.period:
            evaluator.add_inplace(total, evaluator.rotate_vector(total, step, keys))
            step *= 2
        answers = []
        for diagonals in self._up:
            answer = self._sum(evaluator, keys, total, diagonals)
            evaluator.rescale_to_next_inplace(answer)
            answers.append(bytes(answer.to_string(self._scheme.seal.compr_mode_type.none)))
        return answers

    def _diagonals(self, diagonals: list[Floats], level: Sequence[int]) -> list[list[seal.Plaintext | None]]:
        """By giant step, then by baby step; turned back by the giant step that follows. None: all zero."""
        evaluator, babies = self._scheme.seal.Evaluator(self._scheme.context), self.packing.babies
        diagonals[0] += not any(d.any() for d in diagonals) and 1 / SCALE  # SEAL does not multiply by zeros alone
        found = []
        for giant in range(0, len(diagonals), babies):
            row: list[seal.Plaintext | None] = []
            for diagonal in diagonals[giant : giant + babies]:
                plain = None
                if diagonal.any():
                    plain = self._scheme.encoder.encode(np.roll(diagonal, giant), SCALE)
                    evaluator.mod_switch_to_inplace(plain, level)
                row.append(plain)
            found.append(row)
        return found

    @staticmethod
    def _sum(
        evaluator: seal.Evaluator, keys: seal.GaloisKeys, x: seal.Ciphertext,
        diagonals: list[list[seal.Plaintext | None]],
    ) -> seal.Ciphertext:  # fmt: skip
        """Σ over i of x, turned by i, times diagonal i."""
        babies = [x] + [evaluator.rotate_vector(x, i, keys) for i in range(1, len(diagonals[0]))]
        giants = []
        for giant, row in enumerate(diagonals):
            products = [evaluator.multiply_plain(b, d) for b, d in zip(babies, row, strict=True) if d is not None]
            if not products:
                continue
            total = evaluator.add_many(products)
            giants.append(evaluator.rotate_vector(total, giant * len(babies), keys) if giant else total)
        return evaluator.add_many(giants)


def load_turning(scheme: OnlineScheme, data: bytes) -> seal.GaloisKeys:
    """Raises InputError for what are not keys of these parameters."""
    return read(scheme.context.from_galois_str, data, "a set of keys")
