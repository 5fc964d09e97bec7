"""Questions under masks that were prepared ahead (Delphi, Mishra et al. 2020): one round trip, exact integers.

The server gets Enc(r) ahead, and x − r mod t, which is uniform: r is used once. The data owner gets B·A·r + s ahead,
and B·A(x − r) − s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import AdapterServerError, InputError
from ..parties.packing import pack, packed_bytes, unpack
from .channel import FIRST, MOST_CIPHERTEXTS, NUMBER_BITS, Channel, Kind
from .encryption.bfv import TOKENS, Keys, Scheme
from .encryption.fixed import Floats, Shape, Words
from .encryption.workers import in_order
from .masks import Cursor, Masks


class Ahead:
    """The data owner's masks. A batch of a call is `inputs` ciphertexts up and `outputs` down, and serves TOKENS rows.

    `preparing(done, all)` is told of ciphertexts of a batch. What is kept of one is `outputs` · TOKENS · 8 bytes.
    """

    def __init__(self, channel: Channel, shapes: Sequence[Shape], preparing: Callable[[int, int], None]) -> None:
        self._channel = channel
        self._shapes = shapes
        self._preparing = preparing
        self._scheme = Scheme()
        self._keys = Keys(self._scheme)
        self._masks = Masks(self._scheme.modulus)
        self._cursors = [Cursor() for _ in shapes]
        self._sums: dict[int, Words] = {}
        """By call: B·A·r + s of the batch's tokens, `[TOKENS, outputs]`."""
        self.prepared_bytes = 0
        channel.send(Kind.KEY, 0, self._keys.public)

    def ask(self, call: int, rows: Floats) -> Floats:
        """What the call adds to rows `[n, inputs]`, `[n, outputs]`: `NUMBER_BITS` per value each way."""
        shape, cursor, modulus = self._shapes[call], self._cursors[call], self._scheme.modulus
        words, told = shape.encode(rows, modulus), []
        while len(words):
            if not cursor.left:
                self.prepare(call)
            now, words = words[: cursor.left], words[cursor.left :]
            told.append(self._ask(call, now))
        return shape.decode(np.concatenate(told), modulus)

    def prepare(self, call: int) -> None:
        """A new batch's masks; what was left of the one before is forgotten."""
        shape, cursor, size = self._shapes[call], self._cursors[call], self._scheme.answer_bytes
        before, done, everything = self._channel.bytes, 0, shape.inputs + shape.outputs
        cursor.next_batch()
        columns = self._masks.columns(call, cursor.batch, shape.inputs)

        def encrypted(first: int) -> list[bytes]:
            return [self._keys.encrypt(column) for column in columns[first : first + MOST_CIPHERTEXTS]]

        for part in in_order(encrypted, range(0, shape.inputs, MOST_CIPHERTEXTS)):
            self._channel.send(Kind.ROWS, call, *part)
            done += len(part)
            self._preparing(done, everything)
        firsts = range(0, shape.outputs, MOST_CIPHERTEXTS)
        counts = [min(MOST_CIPHERTEXTS, shape.outputs - first) for first in firsts]
        answers = (self._channel.answer(Kind.BLINDED, call, count * size) for count in counts)
        sums = np.empty((TOKENS, shape.outputs), np.uint64)
        for first, numbers in zip(firsts, in_order(self._decrypted, answers), strict=True):
            sums[:, first : first + len(numbers)] = numbers.T
            done += len(numbers)
            self._preparing(done, everything)
        self._sums[call] = sums
        self.prepared_bytes += self._channel.bytes - before

    def _decrypted(self, data: memoryview) -> Words:
        """Of ciphertexts one behind the other, `[k, TOKENS]`."""
        size = self._scheme.answer_bytes
        try:
            return np.stack([self._keys.decrypt(data[at : at + size]) for at in range(0, len(data), size)])
        except InputError as error:
            raise AdapterServerError(f"{self._channel.peer}: {error}") from error

    def _ask(self, call: int, words: Words) -> Words:
        shape, cursor, modulus = self._shapes[call], self._cursors[call], np.uint64(self._scheme.modulus)
        count = len(words)
        first = cursor.take(count)
        masked = words + (modulus - self._masks.rows(call, cursor.batch, first, count, shape.inputs))
        masked -= modulus * (masked >= modulus)
        self._channel.send(Kind.ASK, call, FIRST.pack(first), pack(masked.reshape(-1), NUMBER_BITS))
        self._masks.make_ahead(call, cursor.batch, cursor.token, min(count, cursor.left), shape.inputs)
        data = self._channel.answer(Kind.TOLD, call, packed_bytes(count * shape.outputs, NUMBER_BITS))
        told = unpack(data, count * shape.outputs, NUMBER_BITS).reshape(count, shape.outputs)
        if int(told.max()) >= int(modulus):
            raise AdapterServerError(f"{self._channel.peer} answered with numbers that are not below the modulus")
        told = told + self._sums[call][first : first + count]
        return np.asarray(told - modulus * (told >= modulus))
