"""The proxies between the processes of a cell, and the cells that there are."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from survival.documented import documented, matrix
from survival.faults import FAULTS
from survival.network import Network


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
def connected(delay: float = 0.0) -> Iterator[tuple[Network, socket.socket]]:
    with echo() as port:
        network = Network(delay)
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


def test_every_process_meets_every_fault_at_every_moment() -> None:
    cells = matrix()
    assert len(set(cells)) == len(cells) == 6 * (6 + 2 + 3 * 7) + 6 * (7 + 2 + 3 * 7)
    assert {cell.fault for cell in cells} == set(FAULTS)
    assert all(documented(cell).goes_on or documented(cell).ends for cell in cells)
