"""One client's session with MP-SPDZ's parties: TLS, public words, private inputs, results.

Messages are `u32 length` and that many bytes, little-endian. What is public is said to all parties, and all say the
same. A private input goes out masked: every party sends a share of a random a, the client sends x + a to all of them.
Where the protocol is secure against malicious parties they send shares of a triple (a, b, c), and the client goes on
only if c = ab (Damgård et al., eprint 2015/1006).
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...mpc_programs.lib.wire import CHUNK
from ..closing import Closing
from ..errors import ServiceError
from ..parties.certificates import client_context
from ..parties.connection import prepare
from ..parties.roles import CLIENTS
from ..parties.sharing import Words
from .words import Domain, Elements, domain

CONNECT_SECONDS = 60.0
ANSWER_SECONDS = 24 * 3600.0
"""A step may take that long."""
DOMAIN_BYTES = 256
GRACE = 2.0
SLICE = 0.25
PIECE = 1 << 20


class MpSpdzClient(Closing):
    """Client number `number` of the parties at `addresses`, party 0 first.

    The owners' certificates are in `certificates`. Party i must prove to be `P<i>`.
    Both sides say the program's `identity` first, and refuse another. `watch` is called while the client waits, and
    raises when it is in vain. Every method raises ServiceError, and the session is over then.
    """

    def __init__(
        self,
        number: int,
        addresses: Sequence[tuple[str, int]],
        certificates: Path,
        identity: Sequence[int],
        *,
        active: bool,
        watch: Callable[[], None] | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._active, self._seconds = active, answer_seconds
        self._watch, self._grace = (watch, GRACE) if watch else (lambda: None, 0.0)
        self._sockets: list[ssl.SSLSocket] = []
        self._parties = range(len(addresses))
        context = client_context(certificates, CLIENTS[number])
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # the parties speak no other
        deadline = time.monotonic() + connect_seconds
        try:
            for party, address in enumerate(addresses):
                self._sockets.append(self._connect(party, address, context, str(number).encode(), deadline))
            self.numbers = self._domain(
                {bytes(self._message(party, DOMAIN_BYTES, deadline)) for party in self._parties}
            )
            self._check_program(identity, deadline)
            self.say(*identity)
        except BaseException:
            self.close()
            raise

    def say(self, *words: int) -> None:
        """Public words, one message."""
        self._broadcast(self.numbers.pack(self.numbers.from_int64(np.array(words, np.int64))))

    def hear(self) -> int:
        """One public word. Raises ServiceError where the parties do not say the same."""
        return self._hear(1, time.monotonic() + self._seconds)[0]

    def give(self, words: Words) -> None:
        """Private numbers `[n]`, 64-bit words."""
        for start in range(0, len(words), CHUNK):
            part = self.numbers.from_int64(words[start : start + CHUNK])
            self._broadcast(self.numbers.pack(self.numbers.add(part, self._open(len(part)))))

    def take(self, count: int) -> NDArray[np.int64]:
        """Numbers `[count]` that the parties open to this client."""
        return self.numbers.to_int64(self._open(count))

    def abort(self) -> None:
        """Make a method that another thread waits in fail at once."""
        for each in self._sockets:
            with suppress(OSError):  # it may be gone already
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def close(self) -> None:
        """End the session."""
        for each in self._sockets:
            each.close()

    def _connect(
        self, party: int, address: tuple[str, int], context: ssl.SSLContext, number: bytes, deadline: float
    ) -> ssl.SSLSocket:
        raw = self._reach(party, address, deadline)
        try:
            prepare(raw, CONNECT_SECONDS)
            raw.settimeout(max(SLICE, deadline - time.monotonic()))
            raw.sendall(struct.pack("<I", len(number)) + number)
            secure = context.wrap_socket(raw, server_hostname=f"P{party}")
        except ssl.SSLCertVerificationError as error:
            raw.close()
            text = f"{_join(address)} does not prove to be party {party}: {error.verify_message}"
            raise ServiceError(party, "refused", text) from error
        except OSError as error:
            raw.close()
            raise self._lost(party, f"TLS with {_join(address)} failed: {error}") from error
        secure.settimeout(SLICE)
        return secure

    def _reach(self, party: int, address: tuple[str, int], deadline: float) -> socket.socket:
        """Connect to a party that may still be starting."""
        while True:
            self._watch()
            try:
                return socket.create_connection(address, max(SLICE, deadline - time.monotonic()))
            except OSError as error:
                if time.monotonic() > deadline or not isinstance(error, ConnectionRefusedError):
                    text = f"cannot connect to {_join(address)}: {error.strerror or error}"
                    raise self._lost(party, text) from error
            time.sleep(0.05)

    def _domain(self, said: set[bytes]) -> Domain:
        """The ring or field that all parties say they compute in."""
        if len(said) != 1:
            raise ServiceError(0, "refused", "the parties do not agree on what they compute in")
        try:
            return domain(said.pop())
        except ValueError as error:
            raise ServiceError(0, "refused", str(error)) from None

    def _check_program(self, identity: Sequence[int], deadline: float) -> None:
        said = self._hear(len(identity), deadline)
        if said != tuple(identity):
            theirs, mine = (struct.pack("<2I", *words[:2]).hex() for words in (said, identity))
            raise ServiceError(0, "refused", f"runs another program ({theirs}...) than this client's ({mine}...)")

    def _hear(self, count: int, deadline: float) -> tuple[int, ...]:
        """Public words, one message."""
        said = [struct.unpack(f"<{count}q", each) for each in self._receive(8 * count, deadline)]
        for party, words in enumerate(said):
            if words != said[0]:
                raise ServiceError(party, "refused", f"says {words[0]}, party 0 says {said[0][0]}")
        return said[0]

    def _open(self, count: int) -> Elements:
        """The sum of the parties' shares; with triples, checked."""
        numbers, width = self.numbers, 3 if self._active else 1
        total = numbers.zeros(width * count)
        for data in self._receive(width * count * numbers.size, time.monotonic() + self._seconds):
            total = numbers.add(total, numbers.unpack(data))
        if not self._active:
            return total
        a, b, c = (total[i::3] for i in range(3))
        if not np.array_equal(numbers.multiply(a, b), c):
            raise ServiceError(0, "refused", "a triple of the parties is wrong: at least one of them cheats")
        return a

    def _broadcast(self, data: bytes) -> None:
        deadline = time.monotonic() + self._seconds
        message = memoryview(struct.pack("<I", len(data)) + data)
        for party, each in enumerate(self._sockets):
            sent = 0
            while sent < len(message):
                try:
                    sent += each.send(message[sent : sent + PIECE])
                except TimeoutError:
                    self._waited(party, deadline)
                except OSError as error:
                    raise self._lost(party, f"the connection is lost: {error}") from error

    def _receive(self, length: int, deadline: float) -> Iterator[memoryview]:
        """One message of every party, of exactly that length."""
        for party in self._parties:
            data = self._message(party, length, deadline)
            if len(data) != length:
                raise ServiceError(party, "refused", f"sent {len(data)} bytes, expected {length}")
            yield data

    def _message(self, party: int, most: int, deadline: float) -> memoryview:
        """One message, refused before anything is allocated if it is too long."""
        (length,) = struct.unpack("<I", self._read(party, 4, deadline))
        if length > most:
            raise ServiceError(party, "refused", f"sent {length} bytes, at most {most} were expected")
        return self._read(party, length, deadline)

    def _read(self, party: int, count: int, deadline: float) -> memoryview:
        data = memoryview(bytearray(count))
        got = 0
        while got < count:
            try:
                n = self._sockets[party].recv_into(data[got : got + PIECE])
            except TimeoutError:
                self._waited(party, deadline)
                continue
            except OSError as error:
                raise self._lost(party, f"the connection is lost: {error}") from error
            if n == 0:
                raise self._lost(party, "it closed the connection")
            got += n
        return data

    def _waited(self, party: int, deadline: float) -> None:
        """While one party keeps the client waiting, another may have gone."""
        self._watch()
        for other in self._parties:
            if self._gone(other):
                raise self._lost(other, "it closed the connection")
        if time.monotonic() > deadline:
            raise ServiceError(party, "lost", "it did not answer in time")

    def _gone(self, party: int) -> bool:
        """Whether the party has closed its end, read or not."""
        poll = select.poll()
        poll.register(self._sockets[party], select.POLLRDHUP)
        return bool(poll.poll(0))

    def _lost(self, party: int, text: str) -> ServiceError:
        """The cause, if `watch` finds one in a moment, else `text`."""
        deadline = time.monotonic() + self._grace
        while time.monotonic() < deadline:
            try:
                self._watch()
            except ServiceError as cause:
                return cause
            time.sleep(0.05)
        return ServiceError(party, "lost", text)


def _join(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
