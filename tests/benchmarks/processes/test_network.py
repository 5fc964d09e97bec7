"""The proxies between processes: late, limited, held and cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from processes.network import Network, Uplink


@contextmanager
def echo() -> Iterator[int]:
    """The port of a server that sends everything back."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=[connection], daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@contextmanager
def connected(delay: float = 0.0, bytes_per_second: float = 0.0) -> Iterator[tuple[Network, socket.socket]]:
    with echo() as port:
        network = Network(delay, bytes_per_second)
        with socket.create_connection(("127.0.0.1", network.port("a", "b", port))) as there:
            there.settimeout(10)
            yield network, there
        network.close()


def test_bytes_arrive_late_but_whole() -> None:
    with connected(0.05) as (network, there):
        began = time.monotonic()
        there.sendall(bytes(range(256)))
        assert there.recv(1 << 16) == bytes(range(256))
        assert time.monotonic() - began > 0.09
        network.slow("a", 0.0)
        began = time.monotonic()
        there.sendall(b"again")
        assert there.recv(100) == b"again"
        assert time.monotonic() - began < 5


def test_a_link_takes_as_long_as_its_rate_says_both_ways() -> None:
    with connected(0.0, 2e6) as (_, there):
        began, received = time.monotonic(), 0
        thread = threading.Thread(target=there.sendall, args=[bytes(400_000)])
        thread.start()
        while received < 400_000:
            received += len(there.recv(1 << 16))
        thread.join()
        # the way back overlaps with the way there, but for the first piece
        assert 0.2 < time.monotonic() - began < 2


def test_what_a_process_sends_to_several_shares_its_link() -> None:
    uplink = Uplink(1e6)
    began = time.monotonic()
    left = [uplink.send(50_000) for _ in range(4)]
    assert left == sorted(left)
    assert left[-1] - began >= 0.2 - 1e-6
    assert time.monotonic() - began > 0.15, "it takes no more in than it can send"
    assert Uplink(0.0).send(1 << 40) <= time.monotonic()


def test_a_cut_comes_in_the_middle_of_a_message() -> None:
    with connected() as (network, there):
        there.sendall(b"whole")
        assert there.recv(100) == b"whole"
        with network.cut("b"):
            there.sendall(b"12345678")
            received = b""
            with suppress(ConnectionResetError):
                while data := there.recv(100):
                    received += data
        assert len(received) < 8


def test_a_gate_holds_what_is_behind_it() -> None:
    with connected() as (network, there):
        wire = network.wire("a", "b")
        wire.gate(4)
        there.sendall(b"1234")
        assert there.recv(100) == b"1234"
        assert not wire.wait_at_gate(0)
        there.sendall(b"5678")
        assert wire.wait_at_gate(10)
        there.settimeout(0.2)
        with pytest.raises(TimeoutError):
            there.recv(100)
        there.settimeout(10)
        wire.open()
        assert there.recv(100) == b"5678"
