"""The model owner's server: tells B·A·x for rows x that it never sees (`channel.py` has the messages)."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import AdapterServerError, InputError
from ..parties.certificates import host_name
from ..parties.connection import SILENCE_SECONDS, prepare
from ..parties.packing import pack, packed_bytes, unpack
from .channel import FIRST, MOST_CIPHERTEXTS, NUMBER_BITS, VERSION, Channel, Kind, UnexpectedFrameError
from .encryption.bfv import TOKENS, Evaluation, Scheme, load_key
from .encryption.ckks import TURNING_BYTES, OnlineProduct, OnlineScheme, load_turning
from .encryption.fixed import Adapter
from .encryption.workers import in_order
from .masks import Cursor, Masks

if TYPE_CHECKING:
    import seal

IDLE_SECONDS = 3600.0
HANDSHAKE_SECONDS = 10.0
QUESTIONS = (Kind.KEY, Kind.ROWS, Kind.ASK, Kind.TURNING, Kind.ROW)
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
        _Conversation(self._scheme, self._served, self._told, channel).run()


class _Conversation:
    """What follows the greeting, until the data owner leaves."""

    def __init__(self, scheme: Scheme, served: Served, told: list[int], channel: Channel) -> None:
        self._scheme = scheme
        self._adapters = served.adapters
        self._most = served.most_rows
        self._told = told
        self._key = b""
        self._channel = channel
        self._blinds = Masks(scheme.modulus)
        self._cursors = [Cursor() for _ in self._adapters]
        self._online = OnlineScheme()
        self._turning: seal.GaloisKeys | None = None
        self._products: dict[int, OnlineProduct] = {}

    def run(self) -> None:
        longest = MOST_CIPHERTEXTS * self._scheme.fresh_bytes
        longest = max(
            longest,
            TURNING_BYTES,
            *(FIRST.size + self._bytes(TOKENS, adapter.shape.inputs) for adapter in self._adapters),
        )
        while True:
            kind, call, data = self._channel.receive(QUESTIONS, longest)
            if kind == Kind.KEY:
                load_key(self._scheme, bytes(data))
                self._key = bytes(data)
                continue
            if kind == Kind.TURNING:
                self._turning = load_turning(self._online, bytes(data))
                continue
            if call >= len(self._adapters):
                raise InputError(f"there is no call {call}, only {len(self._adapters)}")
            if kind == Kind.ROWS:
                self._prepare(call, data)
            elif kind == Kind.ASK:
                self._tell(call, data)
            else:
                self._sum(call, data)

    def _prepare(self, call: int, data: memoryview) -> None:
        adapter, scheme, cursor = self._adapters[call], self._scheme, self._cursors[call]
        if not self._key:
            raise InputError("ciphertexts before the key that they are under")
        evaluation = Evaluation(scheme, self._key, adapter)
        size, missing = scheme.fresh_bytes, adapter.shape.inputs
        while True:
            count = len(data) // size
            if not 0 < count <= min(missing, MOST_CIPHERTEXTS) or len(data) != count * size:
                raise InputError(f"{len(data)} bytes are not 1 to {min(missing, MOST_CIPHERTEXTS)} ciphertexts")
            evaluation.take([data[i * size : (i + 1) * size] for i in range(count)])
            missing -= count
            if not missing:
                break
            _, again, data = self._channel.receive(Kind.ROWS, MOST_CIPHERTEXTS * size)
            if again != call:
                raise InputError(f"ciphertexts of call {again} among those of call {call}")
        cursor.next_batch()
        blinds = self._blinds.columns(call, cursor.batch, adapter.shape.outputs)

        def answers(first: int) -> list[bytes]:
            return evaluation.answer(first, blinds[first : first + MOST_CIPHERTEXTS])

        for part in in_order(answers, range(0, adapter.shape.outputs, MOST_CIPHERTEXTS)):
            self._channel.send(Kind.BLINDED, call, *part)

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
        blinds = self._blinds.rows(call, cursor.batch, cursor.take(count), count, shape.outputs)
        told = adapter.apply(np.ascontiguousarray(rows.T), modulus).T + (np.uint64(modulus) - blinds)
        told -= np.uint64(modulus) * (told >= np.uint64(modulus))
        self._channel.send(Kind.TOLD, call, pack(told.reshape(-1), NUMBER_BITS))
        self._blinds.make_ahead(call, cursor.batch, cursor.token, min(count, cursor.left), shape.outputs)

    def _sum(self, call: int, data: memoryview) -> None:
        if self._turning is None:
            raise InputError("a row before the keys to turn it with")
        if call not in self._products:
            adapter = self._adapters[call]
            self._products[call] = OnlineProduct(self._online, adapter.shape, *adapter.factors)
        size = self._online.row_bytes
        if len(data) % size:
            raise InputError(f"{len(data)} bytes are not ciphertexts of {size} bytes")
        rows = [data[at : at + size] for at in range(0, len(data), size)]
        self._count(call, 1)
        self._channel.send(Kind.SUM, call, *self._products[call].answer(self._turning, rows))

    def _count(self, call: int, rows: int) -> None:
        if self._most and self._told[call] + rows > self._most:
            raise InputError(f"the limit of {self._most} rows is reached")
        self._told[call] += rows

    @staticmethod
    def _bytes(count: int, width: int) -> int:
        return packed_bytes(count * width, NUMBER_BITS)
