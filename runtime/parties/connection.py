"""One client's TLS connection to one party: frames out, frames in."""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import ssl
import struct
from collections.abc import Callable

from cryptography import x509

from ..errors import Failure, ServiceError
from .certificates import host_name, key_pin
from .deployment import PartyAddress
from .roles import MOST_OWNERS
from .sharing import Payload

MAGIC = 0x33544653
HEADER = struct.Struct("<IIQQ")
CHUNK = 1 << 18
"""Bytes that a party must take within the silence that is allowed."""
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 20.0
"""Twenty signs of life in a row: a party that starves on a busy machine still gives one every few seconds."""
HELLO_BYTES = 16
"""Of an answer to HELLO, before 8 for every output with a limit."""
COST_BYTES = 32
OWNER_BYTES, NOTICE_BYTES = 16, 40
"""Of what the coordinator hears of every owner at HELLO, and owners of a step."""
PROBE_SECONDS = 3
"""A connection that is idle for that long is probed, every second."""


class Frame(enum.IntEnum):
    """Kinds of frames (docs/wire.md)."""

    HELLO = 1
    WEIGHTS = 2
    EXAMPLES = 3
    STEP = 4
    STOP = 5
    ERROR = 6
    PROGRESS = 7
    DONE = 8
    RESULT = 9
    JOIN = 10
    NOTICE = 11
    TELL = 12


LIMITS: dict[int, int] = {
    Frame.HELLO: HELLO_BYTES + 8 * 64 + OWNER_BYTES * MOST_OWNERS,
    Frame.ERROR: 1 << 16,
    Frame.PROGRESS: 8,
    Frame.DONE: COST_BYTES,
    Frame.NOTICE: NOTICE_BYTES,
}
"""Longest payload of what a party sends, in bytes; that of a RESULT or TELL follows from the program."""
SHORTEST: dict[int, int] = {Frame.HELLO: 16, Frame.DONE: COST_BYTES, Frame.RESULT: COST_BYTES}
"""Shortest payload of an answer, in bytes."""
COMPLAINTS: dict[int, Failure] = {0: "refused", 1: "consequence", 2: "busy"}


class Connection:
    """Used by one thread at a time, except for `abort`.

    `pin`: the only key that the party may have (`key_pin`). `silence`: seconds without a byte, or without taking one,
    after which a party counts as lost. One that computes sends PROGRESS every second.
    """

    def __init__(
        self, party: int, address: PartyAddress, context: ssl.SSLContext, silence: float, pin: str | None = None
    ) -> None:
        self.party = party
        self._pin = pin
        self._address = address
        self._context = context
        self._silence = silence
        self._socket: ssl.SSLSocket | None = None

    def connect(self) -> memoryview:
        """Connect and make sure that it is this party. Raises ServiceError."""
        address = self._address
        try:
            raw = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
        except OSError as error:
            raise self._lost(f"cannot connect to {address.address}: {error.strerror or error}") from error
        try:
            prepare(raw, self._silence + PROBE_SECONDS)  # ours comes first, and says more
            self._socket = self._context.wrap_socket(
                raw, server_hostname=host_name(f"party{self.party}"), suppress_ragged_eofs=False
            )
            self._check_pin(self._socket)
            self._socket.settimeout(self._silence)
        except ssl.SSLCertVerificationError as error:
            text = f"{address.address} does not prove to be party {self.party}: {error.verify_message}"
            raise self._refused(text) from error
        except TimeoutError as error:
            raise self._silent(CONNECT_SECONDS) from error
        except OSError as error:
            raise self._lost(f"TLS with {address.address} failed: {error}") from error
        finally:
            if self._socket is None:
                raw.close()
        return memoryview(b"")

    def _check_pin(self, tls: ssl.SSLSocket) -> None:
        if self._pin is None:
            return
        pin = key_pin(x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b""))
        if pin != self._pin:
            raise self._refused(f"{self._address.address} has another key than the deployment pins: {pin}")

    def exchange(
        self, kind: Frame, argument: int, payload: Payload, answer: Frame,
        progress: Callable[[int, int], None] | None = None, longest: int = 0,
    ) -> memoryview:  # fmt: skip
        """Send a frame, read frames up to its answer; returns the answer's payload. Raises ServiceError.

        `longest`: bytes that a RESULT may have.
        """
        try:
            self._send(kind, argument, payload)
        except OSError as error:
            self._hear_complaint()
            raise self._gone(error) from error
        try:
            while True:
                got, argument, data = self._read_frame(longest)
                if got == answer:
                    if len(data) < SHORTEST.get(answer, 0):
                        raise self._refused(
                            f"sent {answer.name} with {len(data)} bytes, not {SHORTEST[answer]} or more"
                        )
                    return data
                if got != Frame.PROGRESS or len(data) != 8:
                    raise self._refused(f"sent a frame of kind {got}, expected {answer.name}")
                (total,) = struct.unpack("<Q", data)
                if progress and total:
                    progress(argument, total)
        except OSError as error:
            raise self._gone(error) from error

    def receive(self, longest: int) -> tuple[Frame, int, memoryview]:
        """The next frame that the party sends of itself, however long that takes: kind, argument, payload. Raises
        ServiceError.

        `longest`: bytes that a TELL may have. A host that vanishes is noticed by the system's probes (`prepare`).
        """
        try:
            self._tls.settimeout(None)
            kind, argument, data = self._read_frame(longest)
        except OSError as error:
            raise self._gone(error) from error
        return Frame(kind), argument, data

    def abort(self) -> None:
        """Make the thread that uses the connection fail at once."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it may be gone already
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Say goodbye (a TLS close_notify) as far as the socket takes it without waiting, and close; may be called
        again."""
        if self._socket is not None:
            with contextlib.suppress(OSError, ValueError):  # gone or aborted; nobody waits for the party's goodbye
                self._socket.settimeout(0)
                self._socket.unwrap()
            self._socket.close()

    @property
    def _tls(self) -> ssl.SSLSocket:
        assert self._socket is not None
        return self._socket

    def _send(self, kind: Frame, argument: int, payload: Payload) -> None:
        parts = [memoryview(part) for part in payload]
        length = sum(len(part) for part in parts)
        for part in [memoryview(HEADER.pack(MAGIC, kind, argument, length)), *parts]:
            for start in range(0, len(part), CHUNK):
                if start and select.select([self._tls], [], [], 0)[0]:
                    raise ConnectionAbortedError("the party answered before it had all")
                self._tls.sendall(part[start : start + CHUNK])

    def _hear_complaint(self) -> None:
        """Raise the ERROR or the TLS alert that the party sent while we were sending, if there is one."""
        try:
            self._tls.settimeout(1.0)
            self._read_frame()
        except OSError as error:
            if _is_alert(error):
                raise self._gone(error) from error

    def _read_frame(self, longest: int = 0) -> tuple[int, int, memoryview]:
        magic, kind, argument, length = HEADER.unpack(read_exactly(self._tls, HEADER.size))
        if magic != MAGIC and magic & 0xFFFFFF == MAGIC & 0xFFFFFF:
            raise self._refused("speaks another version of this protocol than this client")
        if magic != MAGIC or kind not in (*LIMITS, Frame.RESULT, Frame.TELL):
            raise self._refused("sent what is not a frame of this protocol")
        most = LIMITS.get(kind, longest)
        if length > most:
            raise self._refused(f"sent {length} bytes as {Frame(kind).name}, at most {most} were expected")
        data = read_exactly(self._tls, length)
        if kind == Frame.ERROR:
            raise ServiceError(self.party, COMPLAINTS.get(argument, "refused"), bytes(data).decode(errors="replace"))
        return kind, argument, data

    def _gone(self, error: OSError) -> ServiceError:
        if _is_alert(error):
            return self._refused(f"does not accept this client's certificate: {error}")
        if isinstance(error, TimeoutError) and error.errno is None:
            return self._silent(self._silence)
        reason = "closed without a goodbye" if isinstance(error, ssl.SSLEOFError) else error.strerror or str(error)
        return self._lost(f"the connection to {self._address.address} is lost: {reason}")

    def _silent(self, seconds: float) -> ServiceError:
        return self._lost(f"no sign of life for {seconds:.0f} s: it is stopped, or its host hangs")

    def _lost(self, text: str) -> ServiceError:
        return ServiceError(self.party, "lost", text)

    def _refused(self, text: str) -> ServiceError:
        return ServiceError(self.party, "refused", text)


def read_exactly(tls: ssl.SSLSocket, n: int) -> memoryview:
    """The next `n` bytes. Raises OSError where there are fewer."""
    data = memoryview(bytearray(n))
    got = 0
    while got < n:
        count = tls.recv_into(data[got : got + CHUNK])
        if count == 0:
            raise ConnectionResetError("it closed the connection")
        got += count
    return data


def _is_alert(error: OSError) -> bool:
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def prepare(raw: socket.socket, patience: float) -> None:
    """Small messages go at once, what counts as sent is on its way, and a host that vanishes, or a program that does
    not take what was sent, is noticed after `patience` seconds.
    """
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, CHUNK)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_SECONDS)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(patience * 1000))
