"""The MP-SPDZ client against peers that speak the recorded wire format; no MP-SPDZ needed."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from secfwt.runtime.errors import ServiceError
from secfwt.runtime.mpspdz import client as mpspdz_client
from secfwt.runtime.mpspdz.certificates import make_player_data
from secfwt.runtime.mpspdz.client import MpSpdzClient
from secfwt.runtime.mpspdz.words import FieldDomain, RingDomain

RING = bytes.fromhex("52000000 40000000 40000000")  # as replicated-ring-party.x sends it
SPDZ_WISE = bytes.fromhex("52000000 68000000 40000000")  # as sy-rep-ring-party.x does
PRIME = 2**127 - 1
FIELD = bytes.fromhex("70000000 00 10000000") + PRIME.to_bytes(16, "big") + bytes.fromhex("01000000")
FIELD += FIELD[4:]  # as hemi-party.x does: of shares and of clear numbers, the prime and that it is Montgomery's form
IDENTITY = (1, 2, 2**32 - 1)


@pytest.mark.parametrize("bits", [64, 72, 104, 128])
def test_ring_arithmetic_is_that_of_integers(bits: int) -> None:
    rng = np.random.default_rng(bits)
    ring = RingDomain(bits)
    packed = rng.bytes(200 * ring.size), b"\xff" * 200 * ring.size
    x, y = (ring.unpack(memoryview(p)) for p in packed)
    for result, of in ((ring.add(x, y), int.__add__), (ring.multiply(x, y), int.__mul__)):
        want = [of(a, b) % 2**bits for a, b in zip(*(integers(p, ring) for p in packed), strict=True)]
        assert integers(ring.pack(result), ring) == want
    assert ring.pack(x) == packed[0]


@pytest.mark.parametrize("bits", [64, 104])
def test_words_keep_their_sign(bits: int) -> None:
    ring = RingDomain(bits)
    words = np.array([0, -1, 2**63 - 1, -(2**63), 12345, -7], np.int64)
    assert integers(ring.pack(ring.from_int64(words)), ring) == [int(w) % 2**bits for w in words]
    np.testing.assert_array_equal(ring.to_int64(ring.from_int64(words)), words)


@pytest.mark.parametrize("prime", [PRIME, 2**255 - 19])
def test_field_arithmetic_is_that_of_integers(prime: int) -> None:
    rng = np.random.default_rng(1)
    field = FieldDomain(prime)
    factor = 2 ** (8 * field.size)
    numbers = [int.from_bytes(rng.bytes(32), "little") % prime for _ in range(100)] + [0, prime - 1]
    packed = b"".join((number * factor % prime).to_bytes(field.size, "little") for number in numbers)
    x = field.unpack(memoryview(packed))
    assert x.tolist() == numbers
    assert field.pack(x) == packed
    assert field.add(x, x[::-1]).tolist() == [(a + b) % prime for a, b in zip(numbers, numbers[::-1], strict=True)]
    assert field.multiply(x, x).tolist() == [a * a % prime for a in numbers]


def test_field_words_keep_their_sign() -> None:
    field = FieldDomain(PRIME)
    words = np.array([0, -1, 2**63 - 1, -(2**63), 12345, -7], np.int64)
    assert field.from_int64(words).tolist() == [int(w) % PRIME for w in words]
    np.testing.assert_array_equal(field.to_int64(field.from_int64(words)), words)


def integers(packed: bytes, numbers: RingDomain | FieldDomain) -> list[int]:
    if isinstance(numbers, FieldDomain):
        return [int(number) for number in numbers.unpack(memoryview(packed))]
    parts = (packed[i : i + numbers.size] for i in range(0, len(packed), numbers.size))
    return [int.from_bytes(part, "little") % 2**numbers.bits for part in parts]


class Peer:
    """One party: TLS 1.2 with its certificate, ring and program, then whatever the script does."""

    def __init__(
        self, name: str, data: Path, script: Callable[[Peer], None], domain: bytes = RING,
        identity: Sequence[int] = IDENTITY,
    ) -> None:  # fmt: skip
        self.listener = socket.create_server(("localhost", 0))
        self.address = ("localhost", self.listener.getsockname()[1])
        self.client = b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(data / f"{name}.pem", data / f"{name}.key")
        self._context.load_verify_locations(capath=str(data))  # by the hash of the subject, as the parties do
        self._script, self._domain, self._identity = script, domain, identity
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, struct.error):  # the client left
            plain, _ = self.listener.accept()
            plain.settimeout(10)
            (length,) = struct.unpack("<I", plain.recv(4))
            self.client = plain.recv(length)
            with self._context.wrap_socket(plain, server_side=True) as self.socket:
                self.send(self._domain)
                self.say(*self._identity)
                self._script(self)

    def send(self, data: bytes) -> None:
        self.socket.sendall(struct.pack("<I", len(data)) + data)

    def say(self, *words: int) -> None:
        self.send(struct.pack(f"<{len(words)}q", *words))

    def receive(self) -> bytes:
        (length,) = struct.unpack("<I", self._read(4))
        return self._read(length)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionResetError
            data += part
        return data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_player_data(tmp_path_factory.mktemp("deployment"), parties=3)


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    """Peers of the test; they end with it."""
    started: list[Peer] = []
    yield started
    for peer in started:
        peer.listener.close()
        peer.thread.join(15)
        assert not peer.thread.is_alive()


def connect(
    peers: Sequence[Peer], data: Path, *, active: bool = False, watch: Callable[[], None] | None = None,
    seconds: float = 10.0,
) -> MpSpdzClient:  # fmt: skip
    addresses = [peer.address for peer in peers]
    return MpSpdzClient(
        1, addresses, data, IDENTITY, active=active, watch=watch, connect_seconds=seconds, answer_seconds=seconds
    )


class Shares:
    """What three parties send for random elements, and what they hear."""

    def __init__(self, ring: RingDomain | FieldDomain, count: int, active: bool) -> None:
        rng = np.random.default_rng(0)
        parts = np.split(ring.unpack(memoryview(rng.bytes(3 * count * ring.size))), 3)
        mask = ring.add(ring.add(parts[0].copy(), parts[1]), parts[2])
        self.ring, self.count, self.mask = ring, count, mask
        self.messages = [ring.pack(part) for part in parts]
        if active:
            b = ring.from_int64(rng.integers(-(2**63), 2**63 - 1, count))
            zero = np.zeros_like(b)
            thirds = [
                (p, q, r) for p, q, r in zip(parts, (b, zero, zero), (zero, ring.multiply(mask, b), zero), strict=True)
            ]
            self.messages = [ring.pack(np.stack(t, axis=1).reshape(3 * count, *b.shape[1:])) for t in thirds]
        self.heard: dict[int, bytes] = {}

    def party(self, number: int) -> Callable[[Peer], None]:
        def script(peer: Peer) -> None:
            assert integers(peer.receive(), self.ring) == list(IDENTITY)
            peer.send(self.messages[number])
            self.heard[number] = peer.receive()

        return script


@pytest.mark.parametrize(
    ("domain", "numbers", "active"),
    [
        (RING, RingDomain(64), False), (RING, RingDomain(64), True), (SPDZ_WISE, RingDomain(104), True),
        (FIELD, FieldDomain(PRIME), False), (FIELD, FieldDomain(PRIME), True),
    ],
)  # fmt: skip
def test_private_input_arrives_masked(
    data: Path, peers: list[Peer], domain: bytes, numbers: RingDomain | FieldDomain, active: bool
) -> None:
    words = np.array([5, -1, 2**40, -(2**62)], np.int64)
    shares = Shares(numbers, 4, active)
    peers += [Peer(f"P{i}", data, shares.party(i), domain) for i in range(3)]
    with connect(peers, data, active=active) as client:
        client.give(words)
        for peer in peers:
            peer.thread.join(10)
    assert {peer.client for peer in peers} == {b"1"}
    assert len(set(shares.heard.values())) == 1
    masks = integers(shares.ring.pack(shares.mask), shares.ring)
    modulus = numbers.prime if isinstance(numbers, FieldDomain) else 2**64
    unmasked = [(y - a) % modulus for y, a in zip(integers(shares.heard[0], shares.ring), masks, strict=True)]
    assert unmasked == [int(w) % modulus for w in words]


def test_result_is_the_sum_of_the_shares(data: Path, peers: list[Peer]) -> None:
    def script(share: int) -> Callable[[Peer], None]:
        return lambda peer: (peer.receive(), peer.send(struct.pack("<qq", share, -share)))[1]

    peers += [Peer(f"P{i}", data, script(3 * i - 100)) for i in range(3)]
    with connect(peers, data) as client:
        assert client.take(2).tolist() == [-291, 291]


def test_large_inputs_go_in_chunks(data: Path, peers: list[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpspdz_client, "CHUNK", 3)
    heard: list[int] = []

    def script(peer: Peer) -> None:
        peer.receive()
        for count in (3, 3, 1):
            peer.send(bytes(8 * count))
            heard.extend(integers(peer.receive(), RingDomain(64)))

    peers.append(Peer("P0", data, script))
    with connect(peers, data) as client:
        client.give(np.arange(7))
        peers[0].thread.join(10)
    assert heard == list(range(7))


def test_wrong_triple_stops_the_client_before_it_sends(data: Path, peers: list[Peer]) -> None:
    shares = Shares(RingDomain(64), 2, active=True)
    shares.messages[2] = struct.pack("<q", 1) + shares.messages[2][8:]
    peers += [Peer(f"P{i}", data, shares.party(i)) for i in range(3)]
    with connect(peers, data, active=True) as client, pytest.raises(ServiceError, match="cheats"):
        client.give(np.array([1, 2]))
    assert shares.heard == {}


def test_parties_cannot_leave_the_triples_out(data: Path, peers: list[Peer]) -> None:
    shares = Shares(RingDomain(64), 2, active=False)
    peers += [Peer(f"P{i}", data, shares.party(i)) for i in range(3)]
    with connect(peers, data, active=True) as client, pytest.raises(ServiceError, match="sent 16 bytes, expected 48"):
        client.give(np.array([1, 2]))


def test_another_party_in_its_place_is_refused(data: Path, peers: list[Peer]) -> None:
    peers.append(Peer("P1", data, lambda _: None))
    with pytest.raises(ServiceError, match="does not prove to be party 0") as error:
        connect(peers, data)
    assert error.value.failure == "refused"


def test_an_authority_of_its_own_is_refused(data: Path, peers: list[Peer], tmp_path: Path) -> None:
    peers.append(Peer("P0", make_player_data(tmp_path, parties=1), lambda _: None))
    with pytest.raises(ServiceError, match="does not prove to be party 0"):
        connect(peers, data)


def test_a_client_without_certificate_is_refused_by_parties(data: Path, peers: list[Peer], tmp_path: Path) -> None:
    other = make_player_data(tmp_path, parties=1)
    (other / "ca.pem").write_bytes((data / "ca.pem").read_bytes())
    peers.append(Peer("P0", data, lambda _: pytest.fail("the peer took the client")))
    with pytest.raises(ServiceError, match="TLS with"):
        connect(peers, other)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (b"2" + bytes(11), "neither in a ring modulo"), (struct.pack("<4sii", b"R", 32, 32), r"modulo 2\^32"),
        (b"", "neither in a ring modulo"),
        (b"p" + bytes(4) + b"\1\0\0\0\x0b\1\0\0\0", "modulo 11, expected an odd prime of more than 115 bits"),
    ],
)  # fmt: skip
def test_other_domains_are_refused(data: Path, peers: list[Peer], domain: bytes, message: str) -> None:
    peers.append(Peer("P0", data, lambda _: None, domain))
    with pytest.raises(ServiceError, match=message):
        connect(peers, data)


def test_parties_must_agree_on_the_domain(data: Path, peers: list[Peer]) -> None:
    peers += [Peer(f"P{i}", data, lambda _: None, domain) for i, domain in enumerate((RING, SPDZ_WISE))]
    with pytest.raises(ServiceError, match="do not agree"):
        connect(peers, data)


def test_a_party_that_closes_is_named(data: Path, peers: list[Peer]) -> None:
    peers += [Peer(f"P{i}", data, lambda peer: peer.send(bytes(8)) if peer is peers[0] else None) for i in range(2)]
    with connect(peers, data) as client, pytest.raises(ServiceError, match="party 1: ") as error:
        client.take(1)
    assert error.value.failure == "lost"


def test_a_party_that_closes_while_another_is_silent_is_named(data: Path, peers: list[Peer]) -> None:
    done = threading.Event()
    peers.append(Peer("P0", data, lambda _: (done.wait(10), None)[1]))
    peers.append(Peer("P1", data, lambda peer: (peer.receive(), peer.send(bytes(8)))[1]))
    try:
        with connect(peers, data) as client, pytest.raises(ServiceError, match="party 1: it closed the connection"):
            client.take(1)
    finally:
        done.set()


def test_the_cause_goes_before_the_lost_connection(data: Path, peers: list[Peer]) -> None:
    failed = threading.Event()

    def watch() -> None:
        if failed.is_set():
            raise ServiceError(2, "lost", "ended with code 1: out of memory")

    def script(peer: Peer) -> None:
        peer.receive()
        failed.set()

    peers.append(Peer("P0", data, script))
    with (
        connect(peers, data, watch=watch) as client,
        pytest.raises(ServiceError, match="party 2: ended with code 1: out of memory"),
    ):
        client.take(1)


def test_public_words_are_the_same_from_all(data: Path, peers: list[Peer]) -> None:
    peers += [Peer(f"P{i}", data, lambda peer: (peer.say(7), peer.say(peer is peers[1]))[1]) for i in range(2)]
    with connect(peers, data) as client:
        assert client.hear() == 7
        with pytest.raises(ServiceError, match="party 1: says 1, party 0 says 0"):
            client.hear()


def test_parties_of_another_program_are_refused(data: Path, peers: list[Peer]) -> None:
    peers.append(Peer("P0", data, lambda _: None, identity=(1, 3, 4)))
    with pytest.raises(ServiceError, match=r"runs another program \(01.*03.*\) than this client's \(01.*02") as error:
        connect(peers, data)
    assert error.value.failure == "refused"


def test_a_message_longer_than_asked_is_refused_unread(data: Path, peers: list[Peer]) -> None:
    peers.append(Peer("P0", data, lambda peer: peer.socket.sendall(struct.pack("<I", 2**32 - 1))))
    with connect(peers, data) as client, pytest.raises(ServiceError, match="sent 4294967295 bytes, at most 8 were"):
        client.take(1)


def test_silence_ends_in_time(data: Path, peers: list[Peer]) -> None:
    done = threading.Event()
    peers.append(Peer("P0", data, lambda _: (done.wait(10), None)[1]))
    try:
        with connect(peers, data, seconds=1.0) as client, pytest.raises(ServiceError, match="did not answer in time"):
            client.take(1)
    finally:
        done.set()


def test_nobody_there(data: Path) -> None:
    with socket.create_server(("localhost", 0)) as listener:
        address = ("localhost", listener.getsockname()[1])
    with pytest.raises(ServiceError, match="cannot connect to localhost:"):
        MpSpdzClient(0, [address], data, IDENTITY, active=False, connect_seconds=0.3)
