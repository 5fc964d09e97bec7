"""Questions with nothing prepared: each row goes encrypted, and what is added to it comes back encrypted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import AdapterServerError, InputError
from .channel import Channel, Kind
from .encryption.ckks import OnlineKeys, OnlineScheme, Packing
from .encryption.fixed import Floats, Shape


class Online:
    """The data owner's keys; those for turning ciphertexts, some 20 MB, are sent once."""

    prepared_bytes = 0

    def __init__(self, channel: Channel, shapes: Sequence[Shape]) -> None:
        self._channel = channel
        self._shapes = shapes
        self._scheme = OnlineScheme()
        self._packings = [Packing(shape.inputs, shape.ranks) for shape in shapes]
        self._keys = OnlineKeys(self._scheme, self._packings)
        channel.send(Kind.TURNING, 0, self._keys.turning)

    def ask(self, call: int, rows: Floats) -> Floats:
        """What the call adds to rows `[n, inputs]`, `[n, outputs]`: per row and 4,096 values 0.4 MB up, 0.1 MB down."""
        self._shapes[call].check(rows)
        return np.stack([self._ask(call, row) for row in rows])

    def _ask(self, call: int, row: Floats) -> Floats:
        shape, packing, size = self._shapes[call], self._packings[call], self._scheme.sum_bytes
        self._channel.send(Kind.ROW, call, *(self._keys.encrypt(slots) for slots in packing.pack(row)))
        data = self._channel.answer(Kind.SUM, call, packing.answers(shape.outputs) * size)
        try:
            parts = [self._keys.decrypt(data[at : at + size]) for at in range(0, len(data), size)]
        except InputError as error:
            raise AdapterServerError(f"{self._channel.peer}: {error}") from error
        return np.concatenate(parts)[: shape.outputs]
