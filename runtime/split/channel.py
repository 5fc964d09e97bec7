"""Frames over one TLS connection, the same for both ends: kind, argument, payload.

| kind | from | argument | payload |
|---|---|---|---|
| HELLO | data owner | version | SHA-256 of the base that it runs |
| CALLS | server | tokens it will answer in all; 0: any number | JSON: a list of `Shape` |
| BASES | server | call | Q of each of its modules, `[width, rank]`, in float32: one frame per call |
| KEY | data owner | | its public key, as SEAL writes it |
| ROWS | data owner | call | ciphertexts of the next features of a batch, 32 at most |
| BLINDED | server | call | ciphertexts of M·r + s, one per number that is told |
| ASK | data owner | call | first token of the batch, rows of x − r mod t, `NUMBER_BITS` each |
| TOLD | server | call | as many rows of M(x − r) − s, packed likewise |
| ROW | data owner | call | ciphertexts of one row's chunks (`encryption/row.py`) |
| SUM | server | call | M·x of it: of each ciphertext, what is told |
| ERROR | server | | why it ends the connection |
"""

from __future__ import annotations

import contextlib
import enum
import socket
import ssl
import struct

from ..errors import AdapterServerError
from ..parties.connection import CHUNK, HEADER, read_exactly

MAGIC = 0x31504C53
VERSION = 3
MOST_CIPHERTEXTS = 32
FIRST = struct.Struct("<Q")
NUMBER_BITS = 48
"""A number below the modulus on its way: 41 would do, but take as long to pack as all else that is done with them."""


class Kind(enum.IntEnum):
    """Of a frame."""

    HELLO = 1
    CALLS = 2
    BASES = 3
    KEY = 4
    ROWS = 5
    BLINDED = 6
    ASK = 7
    TOLD = 8
    ROW = 9
    SUM = 10
    ERROR = 11


class UnexpectedFrameError(AdapterServerError):
    """A frame of another kind or length than the protocol has there."""


class Channel:
    """One end of a connection; used by one thread."""

    def __init__(self, tls: ssl.SSLSocket, peer: str, silence: float) -> None:
        self.peer = peer
        self._bytes = 0
        self._tls = tls
        tls.settimeout(silence)

    def send(self, kind: Kind, argument: int, *parts: bytes | memoryview) -> None:
        """Raises AdapterServerError where the other end is gone, with its reason if it gave one."""
        length = sum(map(len, parts))
        frame = memoryview(b"".join((HEADER.pack(MAGIC, kind, argument, length), *parts)))
        try:
            for start in range(0, len(frame), CHUNK):
                self._tls.sendall(frame[start : start + CHUNK])
        except OSError as error:
            with contextlib.suppress(OSError):
                self._tls.settimeout(1.0)
                self.receive(Kind.ERROR, 0)
            raise self._gone(error) from error
        self._bytes += HEADER.size + length

    def receive(self, expected: Kind | tuple[Kind, ...], longest: int) -> tuple[Kind, int, memoryview]:
        """The next frame. Raises AdapterServerError for any other kind, for a longer one, for an ERROR."""
        kinds = expected if isinstance(expected, tuple) else (expected,)
        try:
            magic, kind, argument, length = HEADER.unpack(read_exactly(self._tls, HEADER.size))
            if magic != MAGIC or kind not in Kind.__members__.values():
                raise UnexpectedFrameError(f"{self.peer} sent what is not a frame of this protocol")
            if length > (1 << 16 if kind == Kind.ERROR else longest):
                raise UnexpectedFrameError(
                    f"{self.peer} sent {length} bytes as {Kind(kind).name}, at most {longest} were expected"
                )
            data = read_exactly(self._tls, length)
        except OSError as error:
            raise self._gone(error) from error
        self._bytes += HEADER.size + length
        if kind == Kind.ERROR:
            raise AdapterServerError(f"{self.peer}: {bytes(data).decode(errors='replace')}")
        if kind not in kinds:
            raise UnexpectedFrameError(
                f"{self.peer} sent {Kind(kind).name}, expected {' or '.join(k.name for k in kinds)}"
            )
        return Kind(kind), argument, data

    def answer(self, kind: Kind, call: int, size: int) -> memoryview:
        """The payload of the frame that answers a call's. Raises AdapterServerError for one of another call or size."""
        _, again, data = self.receive(kind, size)
        if again != call or len(data) != size:
            raise UnexpectedFrameError(
                f"{self.peer} answered with {len(data)} bytes of call {again}, not {size} of {call}"
            )
        return data

    @property
    def bytes(self) -> int:
        """In both directions, headers included."""
        return self._bytes

    def close(self) -> None:
        """Say goodbye as far as the other end takes it without waiting."""
        with contextlib.suppress(OSError, ValueError):
            self._tls.settimeout(0)
            self._tls.unwrap()
        self._tls.close()

    def abort(self) -> None:
        """Make a thread that waits for this connection fail at once."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._tls, socket.SHUT_RDWR)

    def _gone(self, error: OSError) -> AdapterServerError:
        if isinstance(error, TimeoutError):
            return AdapterServerError(f"no sign of life of {self.peer} for {self._tls.gettimeout():.0f} s")
        return AdapterServerError(f"the connection to {self.peer} is lost: {error.strerror or error}")
