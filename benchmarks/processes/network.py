"""A network of proxies between the processes of a deployment: late and limited, slow on demand, cut in mid-message."""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

LOCALHOST = "127.0.0.1"
CHUNK = 1 << 16
BACKLOG_SECONDS = 0.005
"""What a limited link takes in before it has sent it: what is behind waits at the sender, as with TCP."""
REACH_SECONDS = 20.0
CUT_SECONDS = 1.0
"""How long a cut waits for a message to be in the middle of."""


class Uplink:
    """All that one process sends, one piece after the other at `bytes_per_second`; 0: at any rate."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._free = 0.0
        self._lock = threading.Lock()

    def send(self, size: int) -> float:
        """When the last of that many bytes has left; returns once little is in front of the next."""
        now = time.monotonic()
        if not self._rate:
            return now
        with self._lock:
            self._free = left = max(now, self._free) + size / self._rate
        time.sleep(max(0.0, left - now - BACKLOG_SECONDS))
        return left


class Wire:
    """All connections of one process to one port of another. Bytes arrive `delay` seconds after they have left: there
    on the one's `uplink`, back on the `other`'s.
    """

    def __init__(self, port: int, delay: float, uplink: Uplink, other: Uplink) -> None:
        self.delay = delay
        self._uplinks = uplink, other
        self._target = port
        self._sockets: list[socket.socket] = []
        self._cutting = False
        self._gate: int | None = None
        self._at_gate, self._opened = threading.Event(), threading.Event()
        self._listener = socket.create_server((LOCALHOST, 0))
        self.port = int(self._listener.getsockname()[1])
        _thread(self._accept)

    def gate(self, bytes_sent: int) -> None:
        """Let so many bytes of the next connection pass towards the target, and hold the rest."""
        self._gate = bytes_sent

    def wait_at_gate(self, seconds: float) -> bool:
        """Whether that many have come, within that time."""
        return self._at_gate.wait(seconds)

    def open(self) -> None:
        """Let the rest pass."""
        self._gate = None
        self._opened.set()

    def cut(self) -> None:
        """Pass half of the next piece of a message, if there is one in a moment, and reset all connections."""
        self._cutting = True
        time.sleep(CUT_SECONDS)
        self._reset()
        self._cutting = False

    def close(self) -> None:
        """No more connections."""
        self._listener.close()
        self.open()
        self._reset()

    def _reset(self) -> None:
        for each in self._sockets:
            _reset(each)
        self._sockets = []

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                _thread(partial(self._join, near))

    def _join(self, near: socket.socket) -> None:
        """Connect it to the target. One that does not listen yet would refuse the caller, who would try again: here it
        waits, since it is connected already.
        """
        deadline = time.monotonic() + REACH_SECONDS
        while True:
            try:
                far = socket.create_connection((LOCALHOST, self._target))
                break
            except OSError:
                if time.monotonic() > deadline:
                    return _reset(near)
            time.sleep(0.05)
        self._sockets += [near, far]
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there, back = self._uplinks
        self._pump(near, far, there, self._gated())
        self._pump(far, near, back, lambda data: data)
        return None

    def _gated(self) -> Callable[[bytes], bytes]:
        passed = 0

        def hold(data: bytes) -> bytes:
            nonlocal passed
            passed += len(data)
            if self._gate is not None and passed > self._gate:
                self._at_gate.set()
                self._opened.wait()
            return data

        return hold

    def _pump(
        self, source: socket.socket, target: socket.socket, uplink: Uplink, hold: Callable[[bytes], bytes]
    ) -> None:
        """Two threads: one reads and notes when that has left, the other writes when it is time."""
        waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def read() -> None:
            data = b"?"
            while data:
                try:
                    data = source.recv(CHUNK)
                except OSError:
                    data = b""
                waiting.put((uplink.send(len(data)), data))

        def write() -> None:
            with suppress(OSError):
                while True:
                    left, data = waiting.get()
                    time.sleep(max(0.0, left + self.delay - time.monotonic()))
                    if not data:
                        target.shutdown(socket.SHUT_WR)
                        return
                    data = hold(data)
                    if self._cutting:
                        target.sendall(data[: (len(data) + 1) // 2])
                        self._reset()
                        return
                    target.sendall(data)

        _thread(read)
        _thread(write)


class Network:
    """Wires from every process to every party that it connects to; `delay` of all at first, and no process sends more
    than `bytes_per_second` (0: any number) to all others together.
    """

    def __init__(self, delay: float, bytes_per_second: float = 0.0) -> None:
        self._delay = delay
        self._uplinks: dict[str, Uplink] = defaultdict(partial(Uplink, bytes_per_second))
        self._wires: dict[tuple[str, str, int], Wire] = {}

    def port(self, viewer: str, target: str, port: int) -> int:
        """Where `viewer` reaches that port of `target`."""
        key = viewer, target, port
        if key not in self._wires:
            self._wires[key] = Wire(port, self._delay, self._uplinks[viewer], self._uplinks[target])
        return self._wires[key].port

    def wire(self, viewer: str, target: str) -> Wire:
        """The one wire between the two."""
        (found,) = self.wires(viewer, target)
        return found

    def wires(self, *names: str) -> Sequence[Wire]:
        """All wires that have all those ends."""
        return [wire for key, wire in self._wires.items() if set(names) <= set(key[:2])]

    def slow(self, name: str, seconds: float | None = None) -> None:
        """All of a process's wires delay by so much; by default, by what they began with."""
        for wire in self.wires(name):
            wire.delay = self._delay if seconds is None else seconds

    @contextmanager
    def cut(self, name: str) -> Iterator[None]:
        """All connections of a process, while the block runs or a moment later."""
        threads = [_thread(wire.cut) for wire in self.wires(name)]
        yield
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """No more connections."""
        for wire in self._wires.values():
            wire.close()


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _thread(body: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread
