"""Questions with nothing prepared: each row goes encrypted, and what is told of it comes back encrypted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import AdapterServerError, InputError
from .channel import Channel, Kind
from .encryption.bfv import Keys, Scheme
from .encryption.fixed import Floats, Shape, Words
from .encryption.row import Packing, RowReading


class Online:
    """The data owner's keys, and how each call's rows are packed."""

    prepared_bytes = 0

    def __init__(self, channel: Channel, scheme: Scheme, shapes: Sequence[Shape]) -> None:
        self._channel = channel
        self._shapes = shapes
        self._modulus = scheme.modulus
        keys = Keys(scheme)
        self._readings = [RowReading(scheme, keys, Packing(shape.inputs, shape.told)) for shape in shapes]
        channel.send(Kind.KEY, 0, keys.public)

    def ask(self, call: int, rows: Floats) -> Floats:
        """M·x of rows `[n, inputs]`, `[n, told]`: per row of 4,096 numbers and 8 ranks 0.5 MB up, 0.1 MB down."""
        shape = self._shapes[call]
        told = np.stack([self._ask(call, words) for words in shape.encode(rows, self._modulus)])
        return shape.decode(told, self._modulus)

    def _ask(self, call: int, words: Words) -> Words:
        reading = self._readings[call]
        self._channel.send(Kind.ROW, call, *reading.encrypt(words))
        reading.make_ahead()
        data = self._channel.answer(Kind.SUM, call, reading.packing.answers * reading.packing.answer_bytes)
        try:
            return reading.decrypt(data)[: self._shapes[call].told]
        except InputError as error:
            raise AdapterServerError(f"{self._channel.peer}: {error}") from error
