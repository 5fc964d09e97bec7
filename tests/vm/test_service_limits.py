"""What the parties limit: how much is opened in all, memory, idle owners, strangers, and keys but the pinned ones."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from helpers.parties import (
    LOSSES,
    ONE_CANDIDATE_BYTES,
    OPENED,
    PROGRAM,
    RINGS,
    TOLERANCE,
    Running,
    W,
    X,
    Z,
    check_service,
    given,
    parties_with_weights,
    write_program,
)
from secfwt.codegen.ring.header import read_program
from secfwt.runtime.embedded.client import Client
from secfwt.runtime.embedded.engine import EmbeddedEngine
from secfwt.runtime.embedded.processes import PartyError
from secfwt.runtime.embedded.weights import share_weights
from secfwt.runtime.engine import Batch, Left
from secfwt.runtime.errors import BudgetSpentError, ServiceError
from secfwt.runtime.parties.certificates import key_pin, make_certificates, names, read_certificate
from secfwt.runtime.parties.connection import Frame
from secfwt.runtime.parties.packing import packed_bytes

LIMITED = PROGRAM.replace("out loss 11", "out loss 11 max_opened=8").replace(
    "max_candidates=1", "max_candidates=1 max_opened=12"
)
"""Eight losses, and the rows of twelve examples."""


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def start(tmp_path: Path, certificates: Path) -> Iterator[Start]:
    """Parties with a program and a deployment's values; the weights are there."""
    with ExitStack() as stack:

        def begin(text: str = PROGRAM, **values: object) -> Running:
            return stack.enter_context(parties_with_weights(tmp_path, certificates, text, **values))

        yield begin


# A budget of what is opened


def test_the_header_has_the_limits(tmp_path: Path) -> None:
    loss, logits = read_program(write_program(tmp_path, LIMITED)).outputs
    assert (loss.max_candidates, loss.max_opened) == (None, 8)
    assert (logits.max_candidates, logits.max_opened) == (1, 12)


def test_the_parties_count_over_all_sessions_of_the_weights(start: Start) -> None:
    running = start(LIMITED)
    engine = running.session()
    assert engine.allowance() == Left(8, 12)
    engine.load_examples("train", Batch({"x": X}))
    assert engine.losses("train", Z) == pytest.approx(LOSSES, abs=TOLERANCE)
    engine.logits("train", Z[0])
    assert engine.allowance() == Left(5, 7)
    engine.leave()
    again = running.session()
    assert again.allowance() == Left(5, 7)
    again.load_examples("train", Batch({"x": X}))
    again.losses("train", Z)
    with pytest.raises(BudgetSpentError, match=r"opens loss 8 times for these weights, 2 are left, and .* needs 3"):
        again.losses("train", Z)
    assert again.losses("train", Z[:2]) == pytest.approx(LOSSES[:2], abs=TOLERANCE)
    assert again.allowance() == Left(0, 7)
    again.leave()
    share_weights(running.deployment, running.header, {"w": W})
    fresh = running.session()
    assert fresh.allowance() == Left(8, 12)
    fresh.close()


@pytest.mark.parametrize(
    ("output", "candidates", "size", "name", "left"), [(0, 3, 3, "loss", 2), (1, 1, 30, "logits", 2)]
)
def test_the_parties_refuse_what_is_beyond(
    start: Start, output: int, candidates: int, size: int, name: str, left: int
) -> None:
    """A client that does not count by itself. What has been refused is not counted."""
    running = start(LIMITED)
    with Client(running.deployment, "data-owner", running.header.hash) as client:
        client.send_examples(0, len(X), given("x", X))
        for _ in range(2):
            client.step(0, candidates, output, size, given("z", Z[:candidates]), OPENED)
    for _ in range(2):
        with (
            Client(running.deployment, "data-owner", running.header.hash) as client,
            pytest.raises(
                ServiceError, match=rf"output {name} is opened at most .*: {left} are left, .* asks for"
            ) as error,
        ):
            client.step(0, candidates, output, size, given("z", Z[:candidates]), OPENED)
        assert error.value.failure == "refused"


def test_the_model_owner_is_not_told_the_count(start: Start) -> None:
    running = start(LIMITED)
    with Client(running.deployment, "model-owner", running.header.hash) as client:
        assert client.opened == ()


def test_a_step_whose_answer_is_lost_counts(start: Start) -> None:
    running = start(LIMITED)
    with Client(running.deployment, "data-owner", running.header.hash) as client:
        client.send_examples(0, len(X), given("x", X))
    raw = running.raw()
    raw.hello()
    for party in range(3):
        number = (1).to_bytes(8, "little") + bytes(24)
        raw.send(party, Frame.STEP, 0, number + bytes(32 if party == 0 else 16 + ONE_CANDIDATE_BYTES))
    with pytest.raises(ServiceError, match="sent 36 bytes as RESULT"):  # longer than this reader takes
        raw.read(0)
    raw.die()
    engine = running.session()
    assert engine.allowance() == Left(7, 12)
    engine.leave()


# Memory


def test_memory_is_refused_before_it_is_taken(start: Start) -> None:
    running = start()
    assert re.search(r"takes at most [\d.e+]+ MB of examples and candidates", running.log(0))
    with Client(running.deployment, "data-owner", running.header.hash) as client:
        client.send_examples(0, len(X), given("x", X))
    raw = running.raw()
    raw.hello()
    for party in range(3):
        raw.send(party, Frame.STEP, 0, (10**12).to_bytes(8, "little") + bytes(24), 2**60)
    texts = []
    for party in range(3):
        with pytest.raises(ServiceError) as error:
            raw.read(party)
        texts.append(str(error.value))
    raw.die()
    refusal = next(text for text in texts if "candidates" in text)
    assert "1000000000000 candidates: this party can take 1 to " in refusal
    assert "MB for examples and candidates, sets of examples hold 0.0" in refusal
    check_service(running.deployment, running.header)


# Who holds up others


def test_an_idle_owner_makes_way_for_one_who_waits(start: Start) -> None:
    running = start(idle_timeout=1)
    with Client(running.deployment, "model-owner", running.header.hash) as idle:
        time.sleep(1.5)  # alone, it may idle as long as it likes
        idle.send_weights(given("w", W))
        began = time.monotonic()
        Client(running.deployment, "data-owner", running.header.hash).close()
        assert 0.5 < time.monotonic() - began < 8
        with pytest.raises(ServiceError, match=r"nothing was asked for 1 s|ended the session"):
            idle.send_weights(given("w", W))


def examples_in_pieces(running: Running, count: int, piece: int, pause: float, seconds: float) -> tuple[float, str]:
    """EXAMPLES, to party 1 in pieces, for so long at most: after how many seconds it was answered, and how."""
    raw = running.raw()
    raw.hello()
    words = bytes(packed_bytes(8 * count, RINGS["x"]))
    payloads = {0: bytes(32), 1: bytes(16) + words, 2: words + bytes(16)}
    for party, payload in payloads.items():
        raw.send(party, Frame.EXAMPLES, 0, count.to_bytes(8, "little"), 8 + len(payload))
    raw.raw(0, payloads[0])
    raw.raw(2, payloads[2])
    began = time.monotonic()
    at = 0
    with suppress(OSError):
        while at < len(payloads[1]) and time.monotonic() < began + seconds:
            raw.raw(1, payloads[1][at : at + piece])
            at += piece
            time.sleep(pause)
    said = "not answered"
    with suppress(OSError):
        try:
            kind, *_ = raw.read(1)
            said = Frame(kind).name
        except ServiceError as error:
            said = str(error)
    raw.die()
    return time.monotonic() - began, said


def test_a_command_that_arrives_byte_by_byte_ends_its_session(start: Start) -> None:
    """None of its pauses is long. One that is as slow as its size explains is served."""
    running = start(command_timeout=1)
    seconds, said = examples_in_pieces(running, 5, 1, 0.2, 10)
    assert "did not arrive completely in 1 s and one per 32 kB of shares" in said, said
    assert seconds < 8
    check_service(running.deployment, running.header)
    seconds, said = examples_in_pieces(running, 6144, 20_000, 0.25, 10)
    assert (said, seconds > 1.5) == ("DONE", True)
    check_service(running.deployment, running.header)


def test_silent_connections_keep_nobody_out(start: Start) -> None:
    running = start()
    party = running.deployment.parties[0]
    silent = [socket.create_connection((party.host, party.port)) for _ in range(200)]
    for _ in range(3):
        check_service(running.deployment, running.header)
    half_open = []
    for _ in range(100):  # as far as the first bytes of a ClientHello
        with suppress(OSError):
            each = socket.create_connection((party.host, party.port))
            each.sendall(b"\x16\x03\x01\x02\x00\x01")
            half_open.append(each)
    check_service(running.deployment, running.header)
    for each in [*silent, *half_open]:
        each.close()


# Pinned keys


def pins_of(folder: Path) -> dict[str, str]:
    return {name: key_pin(read_certificate(folder / f"{name}.pem")) for name in names()}


def test_pinned_keys_are_accepted(start: Start, certificates: Path) -> None:
    running = start(pins=pins_of(certificates))
    check_service(running.deployment, running.header)


@pytest.mark.parametrize("name", ["data-owner", "party1"])
def test_another_key_of_the_same_authority_is_refused(start: Start, certificates: Path, name: str) -> None:
    wrong = pins_of(certificates) | {name: "0" * 64}
    if name == "party1":
        with pytest.raises(
            PartyError, match=r"party1.secfwt has another key than the deployment pins: sha256 |party 1 did not"
        ):
            start(pins=wrong, connect_timeout=2)
        return
    running = start(pins=wrong)
    with pytest.raises(ServiceError):
        running.session()
    assert "data-owner.secfwt has another key than the deployment pins" in running.log(0)


def test_a_client_knows_the_parties_keys(start: Start, certificates: Path) -> None:
    running = start()
    mistrusting = running.deployment.model_copy(update={"pins": pins_of(certificates) | {"party2": "0" * 64}})
    with pytest.raises(ServiceError, match=r"party 2: .* has another key than the deployment pins: "):
        EmbeddedEngine(mistrusting, running.header)
