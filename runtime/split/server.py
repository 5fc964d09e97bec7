"""The model owner's server: tells B·A·x, as M·x, for rows x that it never sees (`channel.py` has the messages)."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import AdapterServerError, InputError
from ..parties.certificates import host_name
from ..parties.connection import SILENCE_SECONDS, prepare
from ..parties.packing import pack, packed_bytes, unpack
from .channel import FIRST, MOST_CIPHERTEXTS, NUMBER_BITS, VERSION, Channel, Kind, UnexpectedFrameError
from .encryption.batch import TOKENS, BatchProduct
from .encryption.bfv import Answering, Scheme
from .encryption.fixed import Adapter, minus
from .encryption.row import Packing, RowProduct
from .masks import Cursor, Masks

IDLE_SECONDS = 3600.0
HANDSHAKE_SECONDS = 10.0
QUESTIONS = (Kind.KEY, Kind.ROWS, Kind.ASK, Kind.ROW)
CLIENT = "data-owner"


@dataclass(frozen=True)
class Served:
    """What a server answers about."""

    base: str
    """SHA-256 of the public base that the adapter belongs to, in hexadecimal digits."""
    adapters: Sequence[Adapter]
    most_rows: int
    """Rows per call that it answers in its life; 0: any number."""


class AdapterServer:
    """One data owner at a time, one connection after the other."""

    def __init__(self, scheme: Scheme, served: Served, context: ssl.SSLContext, log: Callable[[str], None]) -> None:
        self._scheme = scheme
        self._served = served
        self._context = context
        self._log = log
        self._told = [0] * len(served.adapters)

    def serve(self, listening: socket.socket) -> None:
        """Until the socket is closed."""
        while self.meet(listening):
            pass

    def meet(self, listening: socket.socket) -> bool:
        """Serve the next data owner until it leaves; False where the socket is closed."""
        try:
            raw, address = listening.accept()
        except OSError:
            return False
        self._log(f"connection from {address[0]}")
        try:
            self._meet(raw)
        except AdapterServerError as error:
            self._log(str(error))
        except OSError as error:
            self._log(f"no TLS connection: {error}")
        except Exception as error:  # one data owner's connection does not end the server
            self._log(f"ended by {type(error).__name__}: {error}")
        finally:
            raw.close()
        return True

    def _meet(self, raw: socket.socket) -> None:
        raw.settimeout(HANDSHAKE_SECONDS)
        prepare(raw, SILENCE_SECONDS)
        with self._context.wrap_socket(raw, server_side=True) as tls:
            channel = Channel(tls, "the data owner", IDLE_SECONDS)
            try:
                if ("DNS", host_name(CLIENT)) not in tls.getpeercert().get("subjectAltName", ()):  # type: ignore[union-attr]
                    raise InputError(f"only {CLIENT} may ask")
                self._converse(channel)
            except (InputError, UnexpectedFrameError, ValueError, RuntimeError) as error:  # SEAL has the last two
                channel.send(Kind.ERROR, 0, str(error).encode())
                raise AdapterServerError(f"refused: {error}") from error
            finally:
                channel.close()

    def _converse(self, channel: Channel) -> None:
        _, version, base = channel.receive(Kind.HELLO, 64)
        if version != VERSION:
            raise InputError(f"the data owner speaks version {version} of this protocol, the server {VERSION}")
        if bytes(base).decode(errors="replace") != self._served.base:
            raise InputError("the data owner runs another base than the one the adapter belongs to")
        shapes = json.dumps([asdict(adapter.shape) for adapter in self._served.adapters])
        channel.send(Kind.CALLS, self._served.most_rows, shapes.encode())
        for call, adapter in enumerate(self._served.adapters):
            channel.send(Kind.BASES, call, *(columns.astype("<f4").tobytes() for columns in adapter.bases))
        _Conversation(self._scheme, self._served, self._told, channel).run()


class _Conversation:
    """What follows the greeting, until the data owner leaves."""

    def __init__(self, scheme: Scheme, served: Served, told: list[int], channel: Channel) -> None:
        self._scheme = scheme
        self._adapters = served.adapters
        self._most = served.most_rows
        self._told = told
        self._answering: Answering | None = None
        self._channel = channel
        self._blinds = Masks(scheme.modulus)
        self._cursors = [Cursor() for _ in self._adapters]
        self._products: dict[int, RowProduct] = {}

    def run(self) -> None:
        shapes = [adapter.shape for adapter in self._adapters]
        most = max([MOST_CIPHERTEXTS, *(Packing(shape.inputs, shape.told).chunks for shape in shapes)])
        questions = (FIRST.size + self._bytes(TOKENS, shape.inputs) for shape in shapes)
        longest = max([most * self._scheme.fresh_bytes, *questions])
        while True:
            kind, call, data = self._channel.receive(QUESTIONS, longest)
            if kind == Kind.KEY:
                self._answering = Answering(self._scheme, bytes(data))
                self._products.clear()
                continue
            if call >= len(self._adapters):
                raise InputError(f"there is no call {call}, only {len(self._adapters)}")
            if kind == Kind.ASK:
                self._tell(call, data)
                continue
            if self._answering is None:
                raise InputError("ciphertexts before the key that they are under")
            (self._prepare if kind == Kind.ROWS else self._sum)(self._answering, call, data)

    def _prepare(self, answering: Answering, call: int, data: memoryview) -> None:
        adapter, scheme, cursor = self._adapters[call], self._scheme, self._cursors[call]
        batch = BatchProduct(scheme, answering, adapter)
        size, missing = scheme.fresh_bytes, adapter.shape.inputs
        while True:
            count = len(data) // size
            if not 0 < count <= min(missing, MOST_CIPHERTEXTS) or len(data) != count * size:
                raise InputError(f"{len(data)} bytes are not 1 to {min(missing, MOST_CIPHERTEXTS)} ciphertexts")
            batch.take([data[i * size : (i + 1) * size] for i in range(count)])
            missing -= count
            if not missing:
                break
            _, again, data = self._channel.receive(Kind.ROWS, MOST_CIPHERTEXTS * size)
            if again != call:
                raise InputError(f"ciphertexts of call {again} among those of call {call}")
        cursor.next_batch()
        blinds = self._blinds.columns(call, cursor.batch, adapter.shape.told)
        for number, blind in enumerate(blinds):
            self._channel.send(Kind.BLINDED, call, batch.answer(number, blind))

    def _tell(self, call: int, data: memoryview) -> None:
        adapter, cursor, modulus = self._adapters[call], self._cursors[call], self._scheme.modulus
        shape = adapter.shape
        if len(data) < FIRST.size:
            raise InputError("a question without its first token")
        (first,) = FIRST.unpack(data[: FIRST.size])
        count = (len(data) - FIRST.size) * 8 // (shape.inputs * NUMBER_BITS)
        whole = len(data) == FIRST.size + self._bytes(count, shape.inputs)
        if not whole or first != cursor.token or not 0 < count <= cursor.left:
            asked = f"token {first}, with {len(data)} bytes"
            raise InputError(f"a question about {asked}: expected token {cursor.token} of {TOKENS}")
        self._count(call, count)
        rows = unpack(data[FIRST.size :], count * shape.inputs, NUMBER_BITS).reshape(count, shape.inputs)
        if int(rows.max()) >= modulus:
            raise InputError("numbers that are not below the modulus")
        blinds = self._blinds.rows(call, cursor.batch, cursor.take(count), count, shape.told)
        told = minus(adapter.apply(np.ascontiguousarray(rows.T), modulus).T, blinds, modulus)
        self._channel.send(Kind.TOLD, call, pack(told.reshape(-1), NUMBER_BITS))
        self._blinds.make_ahead(call, cursor.batch, cursor.token, min(count, cursor.left), shape.told)

    def _sum(self, answering: Answering, call: int, data: memoryview) -> None:
        if call not in self._products:
            self._products[call] = RowProduct(self._scheme, answering, self._adapters[call])
        product = self._products[call]
        size = self._scheme.fresh_bytes
        if len(data) % size:
            raise InputError(f"{len(data)} bytes are not ciphertexts of {size} bytes")
        self._count(call, 1)
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        self._channel.send(Kind.SUM, call, *product.answers(chunks))
        product.make_ahead()

    def _count(self, call: int, rows: int) -> None:
        if self._most and self._told[call] + rows > self._most:
            raise InputError(f"the limit of {self._most} rows is reached")
        self._told[call] += rows

    @staticmethod
    def _bytes(count: int, width: int) -> int:
        return packed_bytes(count * width, NUMBER_BITS)
