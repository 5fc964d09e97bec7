"""Clients against parties that misbehave, and what clients send."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from secfwt.codegen.ring.header import InputSpec, ProgramTextError, read_program
from secfwt.runtime.embedded.client import Client
from secfwt.runtime.errors import ServiceError
from secfwt.runtime.parties import connection
from secfwt.runtime.parties.certificates import make_certificates, make_set
from secfwt.runtime.parties.connection import HEADER, MAGIC, Frame
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.parties.packing import pack, packed_bytes, unpack
from secfwt.runtime.parties.sharing import (
    Elements,
    Payload,
    RangeError,
    decode,
    encode,
    encoded,
    reconstruct,
    share,
)

HASH = bytes(range(32))
Behaviour = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


class FakeParties:
    """Three TLS servers in threads, each doing as it is told with every connection."""

    def __init__(self, certificates: Path) -> None:
        self.deployment = Deployment.local(certificates)
        self._listeners: list[socket.socket] = []

    def start(
        self,
        behaviours: list[Behaviour],
        names: tuple[str, ...] = ("party0", "party1", "party2"),
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        for address, behaviour, name in zip(self.deployment.parties, behaviours, names, strict=True):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            folder = self.deployment.certificates
            context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
            context.load_verify_locations(folder / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
            context.maximum_version = newest
            listener = socket.create_server((address.host, address.port))
            self._listeners.append(listener)
            threading.Thread(target=self._serve, args=(listener, context, behaviour), daemon=True).start()

    def _serve(self, listener: socket.socket, context: ssl.SSLContext, behaviour: Behaviour) -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as connection:
                    behaviour(connection)
            except OSError:
                raw.close()

    def client(self, **options: object) -> Client:
        return Client(self.deployment, "data-owner", HASH, **options)  # type: ignore[arg-type]

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@pytest.fixture
def fakes(certificates: Path) -> Iterator[FakeParties]:
    parties = FakeParties(certificates)
    yield parties
    parties.close()


def receive(connection: ssl.SSLSocket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        part = connection.recv(n - len(data))
        if not part:
            raise ConnectionResetError
        data += part
    return data


def read(connection: ssl.SSLSocket) -> tuple[int, int, bytes]:
    _, kind, argument, length = HEADER.unpack(receive(connection, HEADER.size))
    return kind, argument, receive(connection, length)


def send(connection: ssl.SSLSocket, kind: int, argument: int = 0, payload: bytes = b"") -> None:
    connection.sendall(HEADER.pack(MAGIC, kind, argument, len(payload)) + payload)


def greet(connection: ssl.SSLSocket) -> None:
    kind, _, payload = read(connection)
    assert (kind, payload) == (Frame.HELLO, HASH)
    send(connection, Frame.HELLO, 0, struct.pack("<QQ", 1, 0))


def answer_all(connection: ssl.SSLSocket) -> None:
    greet(connection)
    while True:
        kind, _, payload = read(connection)
        cost = struct.pack("<QQQQ", 10**9, 1000, 7, 10**6)
        send(connection, Frame.PROGRESS, 1, struct.pack("<Q", 2))
        send(
            connection, Frame.RESULT if kind == Frame.STEP else Frame.DONE, 0, cost + payload[:8] * (kind == Frame.STEP)
        )


@pytest.mark.parametrize("payload", [b"", bytes(15)])
def test_a_short_hello_is_refused_with_its_length(fakes: FakeParties, payload: bytes):
    def greet_briefly(connection: ssl.SSLSocket) -> None:
        read(connection)
        send(connection, Frame.HELLO, 0, payload)
        read(connection)

    fakes.start([greet_briefly] * 3)
    with pytest.raises(ServiceError, match=rf"party \d: sent HELLO with {len(payload)} bytes, not 16 or more"):
        fakes.client()


def test_answers_and_costs_are_added_up(fakes: FakeParties):
    fakes.start([answer_all] * 3)
    seen: list[tuple[int, int]] = []
    with fakes.client(progress=lambda done, total: seen.append((done, total))) as client:
        assert client.weights_loaded
        client.send_examples(3, 2, [Elements(np.arange(10))])
        assert client.step(3, 5, 0, 1, [Elements(np.arange(5))]).tolist() == [15]
        cost = client.cost
    assert (cost.seconds, cost.bytes_sent, cost.rounds, cost.peak_bytes, cost.steps) == (2.0, 6000, 14, 10**6, 1)
    assert seen == [(1, 2), (1, 2)]


def test_a_party_with_the_certificate_of_another_is_refused(fakes: FakeParties):
    fakes.start([answer_all] * 3, names=("party1", "party1", "party2"))
    with pytest.raises(ServiceError, match=r"party 0: .* does not prove to be party 0: Hostname mismatch") as error:
        fakes.client()
    assert (error.value.party, error.value.failure) == (0, "refused")


def test_a_wildcard_is_not_a_name(tmp_path: Path):
    names = {name: [f"{name}.secfwt"] for name in ("party1", "party2", "data-owner")}
    make_set(tmp_path, {"party0": ["*.secfwt"]} | names, 1)
    wildcard = FakeParties(tmp_path)
    wildcard.start([answer_all] * 3)
    with pytest.raises(ServiceError, match=r"party 0: .* does not prove to be party 0"):
        wildcard.client()
    wildcard.close()


def test_a_server_without_tls_1_3_is_refused(fakes: FakeParties):
    fakes.start([answer_all] * 3, newest=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ServiceError, match="TLS with"):
        fakes.client()


def test_a_client_cannot_pose_as_a_party(fakes: FakeParties):
    fakes.start([answer_all] * 3, names=("party0", "party1", "data-owner"))
    with pytest.raises(ServiceError, match=r"party 2: .* does not prove to be party 2"):
        fakes.client()


def test_a_party_that_is_not_there_is_named(fakes: FakeParties):
    with pytest.raises(ServiceError, match=r"party \d: cannot connect to 127\.0\.0\.1:\d+: Connection refused"):
        fakes.client()


def gone_in_a_step(connection: ssl.SSLSocket) -> None:
    greet(connection)
    receive(connection, HEADER.size)


def silent_in_a_step(connection: ssl.SSLSocket) -> None:
    greet(connection)
    receive(connection, 10**6)


def test_a_party_that_disappears_is_named_at_once(fakes: FakeParties):
    fakes.start([silent_in_a_step, gone_in_a_step, silent_in_a_step])
    client = fakes.client()
    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"party 1: the connection to .* is lost") as error:
        client.step(0, 1, 0, 1, [Elements(np.arange(5))])
    assert time.monotonic() - began < 5
    assert (error.value.party, error.value.failure) == (1, "lost")


def leaves_in_a_step(connection: ssl.SSLSocket) -> None:
    greet(connection)
    read(connection)
    connection.unwrap()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [(gone_in_a_step, "closed without a goodbye"), (leaves_in_a_step, "it closed the connection")],
)
def test_a_loss_is_told_from_an_orderly_end(fakes: FakeParties, behaviour: Behaviour, reason: str):
    fakes.start([silent_in_a_step, behaviour, silent_in_a_step])
    with pytest.raises(ServiceError, match=f"party 1: the connection to .* is lost: {reason}"):
        fakes.client().step(0, 1, 0, 1, [Elements(np.arange(5))])


def hear_goodbye(heard: list[bytes]) -> Behaviour:
    """Serves until the client closes; what was read then, nothing after a goodbye, is kept."""

    def serve(connection: ssl.SSLSocket) -> None:
        connection.suppress_ragged_eofs = False
        greet(connection)
        heard.append(connection.recv(1))

    return serve


def test_a_client_says_goodbye(fakes: FakeParties):
    heard: list[bytes] = []
    fakes.start([hear_goodbye(heard)] * 3)
    client = fakes.client()
    client.close()
    client.close()
    deadline = time.monotonic() + 20
    while len(heard) < 3:
        assert time.monotonic() < deadline, heard
        time.sleep(0.01)
    assert heard == [b""] * 3


def sign_of_life(connection: ssl.SSLSocket) -> None:
    send(connection, Frame.PROGRESS, 0, bytes(8))


def slow(connection: ssl.SSLSocket) -> None:
    """Two seconds for every command, with signs of life."""
    greet(connection)
    while True:
        kind, _, _ = read(connection)
        for _ in range(10):
            time.sleep(0.2)
            sign_of_life(connection)
        send(connection, Frame.RESULT if kind == Frame.STEP else Frame.DONE, 0, bytes(40))


def test_a_party_that_is_stopped_is_told_from_those_that_compute(fakes: FakeParties):
    fakes.deployment = fakes.deployment.model_copy(update={"stall_timeout": 1})
    fakes.start([slow, silent_in_a_step, slow])
    client = fakes.client()
    with pytest.raises(
        ServiceError, match="party 1: no sign of life for 1 s: it is stopped, or its host hangs"
    ) as error:
        client.step(0, 1, 0, 1, [Elements(np.arange(5))])
    assert error.value.failure == "lost"


def test_a_party_that_takes_nothing_is_named(fakes: FakeParties):
    fakes.deployment = fakes.deployment.model_copy(update={"stall_timeout": 1})
    done = threading.Event()

    def takes_nothing(connection: ssl.SSLSocket) -> None:
        greet(connection)
        done.wait()

    def takes_all(connection: ssl.SSLSocket) -> None:
        greet(connection)
        *_, left = HEADER.unpack(receive(connection, HEADER.size))
        while left:
            left -= len(connection.recv(min(left, 1 << 20)))
        while not done.wait(0.2):
            sign_of_life(connection)

    fakes.start([takes_all, takes_nothing, takes_all])
    with pytest.raises(ServiceError, match="party 1: no sign of life for 1 s: it is stopped, or its host hangs"):
        fakes.client().send_weights([Elements(np.zeros(2 << 20, np.int64))])
    done.set()


def test_a_party_that_accepts_and_says_nothing_is_named(fakes: FakeParties, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    fakes.start([answer_all] * 3)
    address = fakes.deployment.parties[1]
    with socket.create_server((address.host, 0)) as silent:
        stopped = address.model_copy(update={"port": silent.getsockname()[1]})
        parties = (fakes.deployment.parties[0], stopped, fakes.deployment.parties[2])
        fakes.deployment = fakes.deployment.model_copy(update={"parties": parties})
        with pytest.raises(ServiceError, match="party 1: no sign of life for 0 s: it is stopped, or its host hangs"):
            fakes.client()


def test_slow_parties_are_waited_for(fakes: FakeParties):
    fakes.deployment = fakes.deployment.model_copy(update={"stall_timeout": 1})
    fakes.start([slow] * 3)
    seen: list[tuple[int, int]] = []
    with fakes.client(progress=lambda done, total: seen.append((done, total))) as client:
        assert client.step(0, 1, 0, 1, [Elements(np.arange(5))]).tolist() == [0]
    assert seen == []  # nothing was counted


@pytest.mark.parametrize(
    ("size", "message"),
    [(40 - 8, r"party \d: sent a RESULT of 32 bytes, expected 40"),
     (40 + 8, r"party \d: sent 48 bytes as RESULT, at most 40 were expected")],
)  # fmt: skip
def test_a_result_has_the_size_that_was_asked_for(fakes: FakeParties, size: int, message: str):
    def answer(connection: ssl.SSLSocket) -> None:
        greet(connection)
        read(connection)
        send(connection, Frame.RESULT, 0, bytes(size))
        connection.recv(1)

    fakes.start([answer] * 3)
    with pytest.raises(ServiceError, match=message):
        fakes.client().step(0, 1, 0, 1, [Elements(np.arange(5))])


def complaining(text: bytes, argument: int) -> Behaviour:
    def behave(connection: ssl.SSLSocket) -> None:
        greet(connection)
        receive(connection, HEADER.size)
        send(connection, Frame.ERROR, argument, text)
        while connection.recv(1 << 20):
            pass

    return behave


def test_an_error_is_heard_during_a_long_upload(fakes: FakeParties):
    fakes.start([complaining(b"no more space", 0)] * 3)
    client = fakes.client()
    with pytest.raises(ServiceError, match=r"party \d: no more space"):
        client.send_weights([Elements(np.zeros(4 << 20, np.int64))])


def test_the_cause_is_raised_not_its_consequences(fakes: FakeParties):
    fakes.start([complaining(b"party 2 ended the session", 1)] * 2 + [complaining(b"out of memory", 0)])
    client = fakes.client()
    with pytest.raises(ServiceError, match="party 2: out of memory"):
        client.step(0, 1, 0, 1, [Elements(np.arange(5))])


def test_busy_parties_are_asked_again(fakes: FakeParties):
    calls = []

    def busy_twice(connection: ssl.SSLSocket) -> None:
        calls.append(0)
        if len(calls) > 2:
            return answer_all(connection)
        read(connection)
        send(connection, Frame.ERROR, 2, b"busy: another session is active")

    fakes.start([busy_twice, answer_all, answer_all])
    fakes.client().close()
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(24), "not a frame"),
        (HEADER.pack(0x31544653, Frame.DONE, 0, 0), "speaks another version of this protocol"),
        (HEADER.pack(MAGIC, Frame.RESULT, 0, 1 << 60), "sent 1152921504606846976 bytes as RESULT, at most 0 were"),
        (HEADER.pack(MAGIC, Frame.DONE, 0, 33), "sent 33 bytes as DONE, at most 32 were"),
        (HEADER.pack(MAGIC, Frame.ERROR, 0, 1 << 20), "sent 1048576 bytes as ERROR, at most 65536 were"),
        (HEADER.pack(MAGIC, 42, 0, 8), "not a frame"),
        (HEADER.pack(MAGIC, Frame.RESULT, 0, 0), "sent a frame of kind 9, expected DONE"),
        (HEADER.pack(MAGIC, Frame.ERROR, 0, 2) + b"\xff!", "party 1: �!"),
    ],
)
def test_answers_that_make_no_sense(fakes: FakeParties, data: bytes, message: str):
    def odd(connection: ssl.SSLSocket) -> None:
        greet(connection)
        read(connection)
        connection.sendall(data)

    fakes.start([answer_all, odd, answer_all])
    client = fakes.client()
    with pytest.raises(ServiceError, match=message):
        client.send_examples(0, 1, [Elements(np.arange(3))])


# Sharing


def stream(seed: bytes, words: int) -> np.ndarray:
    cipher = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(cipher.update(bytes(8 * words)), np.uint64)


def components(payloads: tuple[Payload, Payload, Payload], sizes: list[tuple[int, int]]) -> list[list[np.ndarray]]:
    """Of every input `(elements, ring)` its three components, each word as the party that holds it reads it."""
    (seed0, seed1), (again1, x2), (again2, again0) = payloads
    assert (bytes(again0), bytes(again1), bytes(again2)) == (bytes(seed0), bytes(seed1), bytes(x2))
    total = sum(n for n, _ in sizes)
    x0, x1 = stream(bytes(seed0), total), stream(bytes(seed1), total)
    found, word, byte = [], 0, 0
    for n, ring in sizes:
        size = packed_bytes(n, ring)
        found.append([x0[word : word + n], x1[word : word + n], unpack(x2[byte : byte + size], n, ring)])
        word, byte = word + n, byte + size
    assert byte == len(x2)
    return found


@pytest.mark.parametrize(
    "sizes", [[(0, 64)], [(1, 2)], [(7, 37)], [(5, 20), (64, 3), (1, 64), (130, 52)], [((1 << 20) + 3, 36), (9, 23)]]
)
def test_three_messages_add_up(sizes: list[tuple[int, int]]):
    rng = np.random.default_rng(len(sizes))
    values = [rng.integers(-(2 ** (ring - 1)), 2 ** (ring - 1) - 1, n, endpoint=True) for n, ring in sizes]
    inputs = [Elements(words.copy(), ring) for words, (_, ring) in zip(values, sizes, strict=True)]
    shared = components(share(inputs), sizes)
    for parts, words, (n, ring) in zip(shared, values, sizes, strict=True):
        assert np.array_equal(reconstruct([pack(x, ring) for x in parts], n, ring), words)


def test_nothing_above_a_ring_is_sent():
    """Words that are equal in the ring, and differ above it, have the same explicit share where seeds are the same."""
    x2s = []
    for above in (0, 1 << 20, -(1 << 40)):
        payloads = share([Elements(np.arange(100) + above, 20)])
        ((x0, x1, x2),) = components(payloads, [(100, 20)])
        assert len(payloads[1][1]) == 250
        x2s.append((x0 + x1 + x2) & np.uint64((1 << 20) - 1))
    assert np.array_equal(x2s[0], np.arange(100))
    assert np.array_equal(x2s[0], x2s[1])
    assert np.array_equal(x2s[0], x2s[2])


def test_seeds_are_never_used_twice():
    seeds = [bytes(part) for _ in range(50) for part in share([Elements(np.zeros(1, np.int64))])[0]]
    assert len(set(seeds)) == 100


@pytest.mark.parametrize("ring", [3, 20, 37, 64])
@pytest.mark.parametrize("value", [0, -1, 1 << 20])
def test_what_one_party_is_given_hides_the_value(ring: int, value: int):
    """The explicit share, the same with the stream that the party also has, and both of one value shared twice: every
    bit is a fair coin, 7 standard deviations."""
    n = 6400
    seen = []
    for _ in range(2):
        ((x0, x1, x2),) = components(share([Elements(np.full(n, value, np.int64), ring)]), [(n, ring)])
        seen.append([x2, x2 + x1, x2 + x0])  # party 1 lacks x0's seed, party 2 x1's
    for view in [*seen[0], *(a ^ b for a, b in zip(*seen, strict=True)), np.diff(seen[0][0])]:
        bits = np.unpackbits(view.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")[:, :ring]
        assert abs(bits.mean() - 0.5) < 7 * 0.5 / bits.size**0.5
        assert np.abs(bits.mean(axis=0) - 0.5).max() < 7 * 0.5 / len(bits) ** 0.5


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)), st.integers(0, 40))
def test_encoding_rounds_to_half_a_unit(values: np.ndarray, scale: int):
    assert np.all(np.abs(decode(encode(values, scale, "x"), scale) - values) <= 2.0 ** -(scale + 1))


def test_phases_wrap():
    turns = np.array([0.25, -0.25, 0.5, -0.5, 3.25, -7.75, 1.0])
    expected = [2**62, -(2**62), -(2**63), -(2**63), 2**62, 2**62, 0]
    assert encode(turns, 64, "phase").tolist() == expected


@pytest.mark.parametrize("value", [2.0**46, -(2.0**46), np.inf, np.nan])
def test_values_out_of_range_are_refused(value: float):
    with pytest.raises(RangeError, match="weight w"):
        encode(np.array([0.0, value]), 16, "weight w")


@pytest.mark.parametrize("kind", ["example", "candidate"])
def test_what_the_data_owner_shares_leaves_two_bits_of_its_ring_free(kind: str):
    spec = InputSpec("x", kind, kind, 13, (1,), 20)
    assert encoded(np.array([31.9]), spec, "x").words.tolist() == [261325]
    with pytest.raises(RangeError, match="x: magnitude 32 is too large for scale 13; values must stay below 32"):
        encoded(np.array([-32.0]), spec, "x")


def test_a_weight_may_be_larger_than_its_ring():
    """Nobody reads what is above."""
    spec = InputSpec("w", "weight", "setup", 13, (1,), 20)
    assert encoded(np.array([32.0]), spec, "w").words.tolist() == [32 << 13]


# Packing


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint64, st.integers(0, 200), elements=st.integers(0, 2**64 - 1)), st.integers(1, 64))
def test_numbers_are_packed_tightly(words: np.ndarray, bits: int):
    packed = pack(words, bits)
    low = [int(word) % 2**bits for word in words]
    assert len(packed) == packed_bytes(len(words), bits) == -(-len(words) * bits // 8)
    assert int.from_bytes(packed, "little") == sum(word << bits * i for i, word in enumerate(low))
    assert unpack(packed, len(words), bits).tolist() == low


def test_long_sequences_are_packed_like_short_ones():
    words = np.random.default_rng(3).integers(0, 2**64, 150_001, dtype=np.uint64)
    packed = pack(words, 37)
    assert packed[:370] == pack(words[:80], 37)
    assert np.array_equal(unpack(packed, len(words), 37), words & np.uint64(2**37 - 1))


# Programs as clients read them


def test_a_program_is_read(tmp_path: Path):
    path = tmp_path / "program.txt"
    path.write_text(
        "secfwt-program 4\nfit 0 k=16 fc=13 fa=13 ring=32 const=3.25 m=1 re=-2.4 im=0\n# a comment\n"
        "v 0 setup rep 48 4x3 weight - name=w ring=40\nv 1 example rep 16 3 example - ring=21 name=x\n"
        "v 2 candidate rep 12 2 candidate - name=z\nv 3 pair add 60 4 matmul 0,1 site=there\n"
        "out logits 3 ring=21 max_candidates=1\nout loss 2 noise=4096\nend\n"
    )
    header = read_program(path)
    assert header.inputs == (
        InputSpec("w", "weight", "setup", 48, (4, 3), 40),
        InputSpec("x", "example", "example", 16, (3,), 21),
        InputSpec("z", "candidate", "candidate", 12, (2,), 64),
    )
    assert [output.ring for output in header.outputs] == [21, 64]
    assert [output.noise for output in header.outputs] == [None, 4096]
    assert header.output("loss")[0] == 1
    assert (header.outputs[0].stage, header.outputs[0].scale, header.outputs[0].max_candidates) == ("pair", 60, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: expected 'secfwt-program 4'"),
        ("secfwt-program 1\n", "1: expected"),
        ("secfwt-program 4\nv 0 setup rep x 4 weight - name=w\n", "2: cannot read"),
        ("secfwt-program 4\nv 0 setup rep 16 4 weight -\n", "2: cannot read"),
        ("secfwt-program 4\nout loss 7\n", "2: cannot read"),
        ("secfwt-program 4\nv 0\n", "2: cannot read"),
    ],
)
def test_a_file_that_is_no_program_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "program.txt"
    path.write_text(text)
    with pytest.raises(ProgramTextError, match=message) as error:
        read_program(path)
    assert str(path) in str(error.value)
