"""Ports for local parties: free, neighbours, and out of the way of outgoing connections."""

from __future__ import annotations

import secrets
import socket

import pytest
from secfwt.runtime.errors import DeploymentError
from secfwt.runtime.parties import ports
from secfwt.runtime.parties.ports import LOWEST, check_loopback, free_ports


def test_ports_are_below_those_of_outgoing_connections() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        _, outgoing = client.getsockname()
    found = free_ports(6)
    assert len(found) == 6
    assert LOWEST <= found[0] <= ports._first_outgoing() - 6
    assert outgoing >= ports._first_outgoing()


def test_ports_in_use_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        first = free_ports(3)[0]
        other.bind(("", first + 1))
        drawn = iter([first - LOWEST, first + 1 - LOWEST, first + 2 - LOWEST])
        monkeypatch.setattr(secrets, "randbelow", lambda _: next(drawn))
        assert free_ports(2) == range(first + 2, first + 4)


def test_no_free_ports_are_an_error_that_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("", free_ports(1)[0]))
        taken = other.getsockname()[1] - LOWEST
        monkeypatch.setattr(secrets, "randbelow", lambda _: taken)
        with pytest.raises(OSError, match="no 1 neighbouring ports from 10000 to "):
            free_ports(1)


def test_a_machine_that_cannot_talk_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    check_loopback("127.0.0.1")
    monkeypatch.setattr(ports.socket.socket, "connect", unreachable)
    with pytest.raises(DeploymentError, match=r"cannot: Network is unreachable; bring its loopback interface up"):
        check_loopback("127.0.0.1")
