"""Both ends over TLS: what is told is right; what is wrong ends in one clear error."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.encryption import MODULUS
from secfwt.runtime.errors import AdapterServerError, InputError
from secfwt.runtime.parties.certificates import client_context, host_name, make_certificates, server_context
from secfwt.runtime.parties.deployment import PartyAddress
from secfwt.runtime.split.channel import FIRST, NUMBER_BITS, VERSION, Channel, Kind
from secfwt.runtime.split.client import AdapterClient, _shapes
from secfwt.runtime.split.encryption.batch import TOKENS
from secfwt.runtime.split.encryption.bfv import Keys, Scheme
from secfwt.runtime.split.encryption.fixed import Adapter
from secfwt.runtime.split.server import AdapterServer, Served

BASE = "ab" * 32
MATRICES = {"layers.0.q": (5, 6), "layers.0.v": (3, 6)}


@pytest.fixture(scope="module")
def scheme() -> Scheme:
    return Scheme()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split") / "certificates"
    make_certificates(folder, parties=1)
    return folder


A, B = np.random.default_rng(0).normal(size=(2, 6)), np.random.default_rng(1).normal(size=(5, 2))


class Running:
    """A server in a thread, with what it logged."""

    def __init__(self, scheme: Scheme, certificates: Path, most_rows: int = 0) -> None:
        self.log: list[str] = []
        adapters = [Adapter.of(["layers.0.q", "layers.0.v"], [(A, B), (A[:1], B[:3, :1])], 12.0, scheme.modulus)]
        self.adapters = adapters
        served = Served(BASE, adapters, most_rows)
        server = AdapterServer(scheme, served, server_context(certificates, "party0"), self.log.append)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = PartyAddress(host="127.0.0.1", port=self.socket.getsockname()[1])
        self._thread = threading.Thread(target=server.serve, args=(self.socket,))
        self._thread.start()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join(30)


@pytest.fixture
def running(scheme: Scheme, certificates: Path) -> Iterator[Running]:
    with closing(Running(scheme, certificates)) as running:
        yield running


def told(asking: AdapterClient, rows: np.ndarray) -> list[np.ndarray]:
    numbers = asking.ask(0, rows)
    return [asking.added(0, module, numbers) for module in range(2)]


def client(running: Running, certificates: Path, base: str = BASE) -> AdapterClient:
    return AdapterClient(running.address, certificates, base, MATRICES, lambda done, everything: None)


def test_rows_get_what_the_adapter_adds(running: Running, certificates: Path) -> None:
    """Over the end of a batch, too."""
    rng = np.random.default_rng(2)
    seen: list[tuple[int, int]] = []
    with AdapterClient(running.address, certificates, BASE, MATRICES, lambda *at: seen.append(at)) as asking:
        assert asking.shapes[0].modules == ("layers.0.q", "layers.0.v")
        for count in (1, TOKENS - 3, 7):
            rows = rng.normal(size=(count, 6))
            q, v = told(asking, rows)
            np.testing.assert_allclose(q, rows @ A.T @ B.T, atol=2e-3)
            np.testing.assert_allclose(v, rows @ A[:1].T @ B[:3, :1].T, atol=2e-3)
        assert (asking.asked, asking.questions) == (TOKENS + 5, 3)
        assert seen[-1] == (9, 9)
        assert asking.bytes - asking.prepared_bytes < 9 * NUMBER_BITS / 8 * (TOKENS + 5) + 2**20  # packed, and the key


def test_a_row_gets_it_without_preparation_too(running: Running, certificates: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(2, 6))
    with AdapterClient(running.address, certificates, BASE, MATRICES, lambda *at: None, encryption="online") as asking:
        q, v = told(asking, rows)
        np.testing.assert_allclose(q, rows @ A.T @ B.T, atol=2e-3)
        np.testing.assert_allclose(v, rows @ A[:1].T @ B[:3, :1].T, atol=2e-3)
        assert asking.prepared_bytes == 0
        with pytest.raises(InputError, match="takes at most 12"):
            asking.ask(0, np.full((1, 6), 100.0))


def test_numbers_that_lie_about_units_are_refused(running: Running, certificates: Path) -> None:
    """With a longer reach a row could wrap, and not be uniform under its mask; scales must be numbers' own."""
    (adapter,) = running.adapters
    for wrong in (
        {"reach": 2.0**30, "fraction": 20},
        {"scales": (0, 400)},
        {"scales": (-(10**400), 0)},
        {"scales": (1,)},
    ):
        with pytest.raises(AdapterServerError, match=r"described (modules otherwise|no calls)"):
            _shapes(json.dumps([asdict(replace(adapter.shape, **wrong))]).encode(), MATRICES, MODULUS)
    twice = json.dumps([asdict(adapter.shape)] * 2).encode()
    with pytest.raises(AdapterServerError, match="described a module twice"):
        _shapes(twice, MATRICES, MODULUS)


def test_another_base_is_refused(running: Running, certificates: Path) -> None:
    with pytest.raises(AdapterServerError, match="another base than the one the adapter belongs to"):
        client(running, certificates, "cd" * 32)


def test_the_limit_holds_over_connections(scheme: Scheme, certificates: Path) -> None:
    with closing(Running(scheme, certificates, most_rows=3)) as running:
        with client(running, certificates) as asking:
            assert asking.most_rows == 3
            asking.ask(0, np.ones((2, 6)))
        with (
            client(running, certificates) as asking,
            pytest.raises(AdapterServerError, match="limit of 3 rows"),
        ):
            asking.ask(0, np.ones((2, 6)))


def test_the_limit_holds_for_rows_without_preparation(scheme: Scheme, certificates: Path) -> None:
    with (
        closing(Running(scheme, certificates, most_rows=2)) as running,
        AdapterClient(running.address, certificates, BASE, MATRICES, lambda *at: None, encryption="online") as asking,
    ):
        asking.ask(0, np.ones((2, 6)))
        with pytest.raises(AdapterServerError, match="limit of 2 rows"):
            asking.ask(0, np.ones((1, 6)))


def test_a_row_out_of_reach_is_not_sent(running: Running, certificates: Path) -> None:
    with client(running, certificates) as asking, pytest.raises(InputError, match="takes at most 12"):
        asking.ask(0, np.full((1, 6), 100.0))
    assert not any("refused" in line for line in running.log)


def raw(running: Running, certificates: Path, name: str = "data-owner") -> Channel:
    tls = client_context(certificates, name).wrap_socket(
        socket.create_connection((running.address.host, running.address.port)), server_hostname=host_name("party0")
    )
    return Channel(tls, "the server", 30)


def greeted(running: Running, certificates: Path, scheme: Scheme) -> Channel:
    channel = raw(running, certificates)
    channel.send(Kind.HELLO, VERSION, BASE.encode())
    channel.receive(Kind.CALLS, 1 << 20)
    channel.receive(Kind.BASES, 1 << 20)
    channel.send(Kind.KEY, 0, Keys(scheme).public)
    return channel


@pytest.mark.parametrize(
    ("kind", "call", "payload", "why"),
    [
        (Kind.ASK, 0, FIRST.pack(0) + bytes(31), "expected token 8192"),
        (Kind.ASK, 0, b"", "without its first token"),
        (Kind.ASK, 7, FIRST.pack(0), "no call 7"),
        (Kind.ROWS, 0, bytes(100), "not 1 to 6 ciphertexts"),
        (Kind.ROWS, 0, bytes(262_257), "not a ciphertext"),
        (Kind.ROW, 0, b"", "0 ciphertexts were sent, 1 expected"),
        (Kind.ROW, 0, bytes(262_257), "not a ciphertext"),
        (Kind.ROW, 0, bytes(7), "7 bytes are not ciphertexts"),
        (Kind.KEY, 0, b"key", "not a public key of these parameters"),
        (Kind.HELLO, 0, b"", "expected KEY or ROWS or ASK or ROW"),
    ],
)
def test_a_wrong_message_ends_the_connection_with_a_reason(
    running: Running, certificates: Path, scheme: Scheme, kind: Kind, call: int, payload: bytes, why: str
) -> None:
    """And the next data owner is served."""
    channel = greeted(running, certificates, scheme)
    channel.send(kind, call, payload)
    with pytest.raises(AdapterServerError, match=why):
        channel.receive(Kind.TOLD, 1 << 20)
    channel.close()
    with client(running, certificates) as asking:
        asking.ask(0, np.ones((1, 6)))


def test_only_the_data_owner_may_ask(running: Running, certificates: Path) -> None:
    channel = raw(running, certificates, "model-owner")
    with pytest.raises(AdapterServerError, match="only data-owner may ask"):
        channel.receive(Kind.CALLS, 1 << 20)
    channel.close()


def test_a_server_that_ends_is_noticed(running: Running, certificates: Path) -> None:
    with client(running, certificates) as asking:
        asking.ask(0, np.ones((1, 6)))
        asking._channel.abort()
        with pytest.raises(AdapterServerError, match="is lost"):
            asking.ask(0, np.ones((1, 6)))


def test_nobody_there(certificates: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = PartyAddress(host="127.0.0.1", port=free.getsockname()[1])
        with pytest.raises(AdapterServerError, match="cannot connect to the adapter's server at 127"):
            AdapterClient(address, certificates, BASE, MATRICES, lambda done, everything: None)


def test_other_modules_than_the_bases_are_refused(running: Running, certificates: Path) -> None:
    """A server that said that rows have one number would get all of them under one mask."""
    other = {"layers.0.q": (5, 7), "layers.0.v": (3, 7)}
    with pytest.raises(AdapterServerError, match="described modules otherwise than the base has them"):
        AdapterClient(running.address, certificates, BASE, other, lambda *at: None)


@pytest.mark.parametrize("kind", [Kind.ROWS, Kind.ROW])
def test_ciphertexts_before_their_key_are_refused(running: Running, certificates: Path, kind: Kind) -> None:
    channel = raw(running, certificates)
    channel.send(Kind.HELLO, VERSION, BASE.encode())
    channel.receive(Kind.CALLS, 1 << 20)
    channel.receive(Kind.BASES, 1 << 20)
    channel.send(kind, 0, bytes(262_257))
    with pytest.raises(AdapterServerError, match="before the key that they are under"):
        channel.receive(Kind.TOLD, 1 << 20)
    channel.close()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_bases_that_are_no_numbers_are_refused(running: Running, certificates: Path, wrong: float) -> None:
    running.adapters[0].bases[0][0, 0] = wrong
    with pytest.raises(AdapterServerError, match="sent bases that are not numbers"):
        client(running, certificates)


def test_before_any_question_a_data_owner_learns_the_space_of_columns_only(
    running: Running, certificates: Path, scheme: Scheme
) -> None:
    """An adapter with other factors and the same space sends the same bases."""
    channel = raw(running, certificates)
    channel.send(Kind.HELLO, VERSION, BASE.encode())
    channel.receive(Kind.CALLS, 1 << 20)
    _, _, data = channel.receive(Kind.BASES, 1 << 20)
    channel.close()
    rng = np.random.default_rng(4)
    other = [(rng.normal(size=A.shape), B @ rng.normal(size=(2, 2))), (A[:1] * 3, B[:3, :1] * -2)]
    same = Adapter.of(["layers.0.q", "layers.0.v"], other, 12.0, scheme.modulus)
    wanted = np.concatenate([columns.ravel() for columns in same.bases])
    np.testing.assert_allclose(np.frombuffer(data, "<f4"), wanted, atol=1e-5)
