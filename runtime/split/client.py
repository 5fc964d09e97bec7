"""The data owner's side: prepares masks, asks about rows, forgets each mask with its answer (`channel.py`)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ..closing import Closing
from ..errors import AdapterServerError, InputError
from ..parties.certificates import client_context, host_name
from ..parties.connection import CONNECT_SECONDS, SILENCE_SECONDS, prepare
from ..parties.deployment import PartyAddress
from ..parties.packing import pack, packed_bytes, unpack
from .bfv import MODULUS_BITS, TOKENS, Keys, Scheme
from .channel import FIRST, MOST_CIPHERTEXTS, VERSION, Channel, Kind
from .fixed import Floats, Shape, Words
from .masks import Cursor, Masks

SERVER = "party0"
"""The name in the server's certificate."""
CALLS_BYTES = 1 << 20
SHAPES = TypeAdapter(list[Shape])


class AdapterClient(Closing):
    """Connected for as long as it is open. `preparing(done, all)` is told of ciphertexts of a batch.

    A batch of a call costs `inputs` ciphertexts up and `outputs` down and serves `TOKENS` rows; a question one round
    trip, `MODULUS_BITS` a value.
    """

    def __init__(
        self, address: PartyAddress, certificates: Path, base: str, preparing: Callable[[int, int], None]
    ) -> None:
        self.scheme = Scheme()
        self._preparing = preparing
        self._keys = Keys(self.scheme)
        self._masks = Masks(self.scheme.modulus)
        self._channel = _connect(address, client_context(certificates, "data-owner"))
        try:
            self._channel.send(Kind.HELLO, VERSION, base.encode())
            _, self.most_rows, data = self._channel.receive(Kind.CALLS, CALLS_BYTES)
            self.shapes = _shapes(bytes(data))
            self._channel.send(Kind.KEY, 0, self._keys.public)
        except BaseException:
            self._channel.close()
            raise
        self._cursors = [Cursor() for _ in self.shapes]
        self._sums: dict[int, Words] = {}
        """By call: B·A·r + s of the batch's tokens, `[TOKENS, outputs]`."""
        self.asked = self.round_trips = self.prepared_bytes = 0

    @property
    def bytes_sent(self) -> int:
        """In both directions."""
        return self._channel.sent + self._channel.received

    def ask(self, call: int, rows: Floats) -> list[Floats]:
        """What each module of the call adds to its output for rows `[n, inputs]`: arrays `[n, width]`.

        Raises InputError for rows out of reach, AdapterServerError where the server refuses or is gone.
        """
        words = self.shapes[call].encode(rows, self.scheme.modulus)
        cursor = self._cursors[call]
        told = []
        while len(words):
            if not cursor.left:
                self._prepare(call)
            now, words = words[: cursor.left], words[cursor.left :]
            told.append(self._ask(call, now))
        return self.shapes[call].decode(np.concatenate(told), self.scheme.modulus)

    def close(self) -> None:
        """End the connection and forget all masks."""
        self._channel.close()
        self._sums.clear()

    def _ask(self, call: int, words: Words) -> Words:
        shape, cursor, modulus = self.shapes[call], self._cursors[call], np.uint64(self.scheme.modulus)
        count = len(words)
        first = cursor.take(count)
        masked = words + (modulus - self._masks.rows(call, cursor.batch, first, count, shape.inputs))
        masked -= modulus * (masked >= modulus)
        self._channel.send(Kind.ASK, call, FIRST.pack(first), pack(masked.reshape(-1), MODULUS_BITS))
        size = packed_bytes(count * shape.outputs, MODULUS_BITS)
        _, again, data = self._channel.receive(Kind.TOLD, size)
        if again != call or len(data) != size:
            raise self._wrong(f"{len(data)} bytes of call {again}, not {size} of {call}")
        told = unpack(data, count * shape.outputs, MODULUS_BITS).reshape(count, shape.outputs)
        if int(told.max()) >= int(modulus):
            raise self._wrong("numbers that are not below the modulus")
        self.asked += count
        self.round_trips += 1
        told = told + self._sums[call][first : first + count]
        return np.asarray(told - modulus * (told >= modulus))

    def _prepare(self, call: int) -> None:
        shape, cursor, scheme = self.shapes[call], self._cursors[call], self.scheme
        before, done, all_of_them = self.bytes_sent, 0, shape.inputs + shape.outputs
        cursor.next_batch()
        columns = self._masks.columns(call, cursor.batch, shape.inputs)
        for first in range(0, shape.inputs, MOST_CIPHERTEXTS):
            part = [self._keys.encrypt(column) for column in columns[first : first + MOST_CIPHERTEXTS]]
            self._channel.send(Kind.ROWS, call, *part)
            done += len(part)
            self._preparing(done, all_of_them)
        sums = np.empty((TOKENS, shape.outputs), np.uint64)
        for first in range(0, shape.outputs, MOST_CIPHERTEXTS):
            count = min(MOST_CIPHERTEXTS, shape.outputs - first)
            _, again, data = self._channel.receive(Kind.BLINDED, count * scheme.answer_bytes)
            if again != call or len(data) != count * scheme.answer_bytes:
                raise self._wrong(f"{len(data)} bytes of ciphertexts of call {again}, not {count} of {call}")
            for i in range(count):
                answer = data[i * scheme.answer_bytes : (i + 1) * scheme.answer_bytes]
                try:
                    sums[:, first + i] = self._keys.decrypt(answer)
                except InputError as error:
                    raise self._wrong(str(error)) from error
            done += count
            self._preparing(done, all_of_them)
        self._sums[call] = sums
        self.prepared_bytes += self.bytes_sent - before

    def _wrong(self, what: str) -> AdapterServerError:
        return AdapterServerError(f"{self._channel.peer} answered with {what}")


def _connect(address: PartyAddress, context: ssl.SSLContext) -> Channel:
    peer = f"the adapter's server at {address.address}"
    try:
        raw = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
    except OSError as error:
        raise AdapterServerError(f"cannot connect to {peer}: {error.strerror or error}") from error
    try:
        prepare(raw, SILENCE_SECONDS)
        tls = context.wrap_socket(raw, server_hostname=host_name(SERVER), suppress_ragged_eofs=False)
    except OSError as error:
        raw.close()
        raise AdapterServerError(f"{peer} does not prove to be it: {error}") from error
    return Channel(tls, peer, SILENCE_SECONDS)


def _shapes(data: bytes) -> list[Shape]:
    try:
        shapes = SHAPES.validate_json(data, strict=False)
    except ValidationError as error:
        raise AdapterServerError(f"the adapter's server described no calls: {error.errors()[0]['msg']}") from error
    for shape in shapes:
        if min(shape.inputs, *shape.widths) < 1 or len(shape.widths) != len(shape.modules) or not shape.reach > 0:
            raise AdapterServerError(f"the adapter's server described a call that is none: {shape}")
    return shapes
