"""Questions under masks that were prepared ahead (Delphi, Mishra et al. 2020): one round trip, exact integers.

The server gets Enc(r) ahead, and x − r mod t, which is uniform: r is used once. The data owner gets M·r + s ahead, and
M(x − r) − s (`fixed.py` has M).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import AdapterServerError, InputError
from ..parties.packing import pack, packed_bytes, unpack
from .channel import FIRST, MOST_CIPHERTEXTS, NUMBER_BITS, Channel, Kind
from .encryption.batch import TOKENS
from .encryption.bfv import Keys, Scheme
from .encryption.fixed import Floats, Shape, Words, minus, plus
from .masks import Cursor, Masks


class Ahead:
    """The data owner's masks. A batch of a call is `inputs` ciphertexts up and `told` down, and serves TOKENS rows.

    `preparing(done, all)` is told of ciphertexts of a batch. What is kept of one is `told` · TOKENS · 8 bytes; while
    it is made, `inputs` · TOKENS · 8 as well.
    """

    def __init__(
        self, channel: Channel, scheme: Scheme, shapes: Sequence[Shape], preparing: Callable[[int, int], None]
    ) -> None:
        self._channel = channel
        self._shapes = shapes
        self._preparing = preparing
        self._scheme = scheme
        self._keys = Keys(self._scheme)
        self._masks = Masks(self._scheme.modulus)
        self._cursors = [Cursor() for _ in shapes]
        self._sums: dict[int, Words] = {}
        """By call: M·r + s of the batch's tokens, `[TOKENS, told]`."""
        self.prepared_bytes = 0
        channel.send(Kind.KEY, 0, self._keys.public)

    def ask(self, call: int, rows: Floats) -> Floats:
        """M·x of rows `[n, inputs]`, `[n, told]`: `NUMBER_BITS` per value each way."""
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
        before, done, everything = self._channel.bytes, 0, shape.inputs + shape.told
        cursor.next_batch()
        columns = self._masks.columns(call, cursor.batch, shape.inputs)

        for first in range(0, shape.inputs, MOST_CIPHERTEXTS):
            part = columns[first : first + MOST_CIPHERTEXTS]
            self._channel.send(Kind.ROWS, call, *(self._keys.encrypt(self._scheme.slots(column)) for column in part))
            done += len(part)
            self._preparing(done, everything)
        sums = np.empty((TOKENS, shape.told), np.uint64)
        for number in range(shape.told):
            try:
                sums[:, number] = self._keys.slots(self._channel.answer(Kind.BLINDED, call, size))
            except InputError as error:
                raise AdapterServerError(f"{self._channel.peer}: {error}") from error
            done += 1
            self._preparing(done, everything)
        self._sums[call] = sums
        self.prepared_bytes += self._channel.bytes - before

    def _ask(self, call: int, words: Words) -> Words:
        shape, cursor, modulus = self._shapes[call], self._cursors[call], self._scheme.modulus
        count = len(words)
        first = cursor.take(count)
        masked = minus(words, self._masks.rows(call, cursor.batch, first, count, shape.inputs), modulus)
        self._channel.send(Kind.ASK, call, FIRST.pack(first), pack(masked.reshape(-1), NUMBER_BITS))
        self._masks.make_ahead(call, cursor.batch, cursor.token, min(count, cursor.left), shape.inputs)
        data = self._channel.answer(Kind.TOLD, call, packed_bytes(count * shape.told, NUMBER_BITS))
        told = unpack(data, count * shape.told, NUMBER_BITS).reshape(count, shape.told)
        if int(told.max()) >= modulus:
            raise AdapterServerError(f"{self._channel.peer} answered with numbers that are not below the modulus")
        return plus(told, self._sums[call][first : first + count], modulus)
