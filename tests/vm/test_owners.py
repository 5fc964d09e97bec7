"""Several data owners at three real parties: whose examples are summed, who may ask, who is told, and who is gone."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.parties import (
    LOSSES,
    OPENED,
    PROGRAM,
    TOLERANCE,
    Running,
    W,
    X,
    Z,
    given,
    parties_with_weights,
    write_program,
)
from secfwt.runtime.embedded.client import Client, Heard
from secfwt.runtime.embedded.processes import LocalParties, PartyError
from secfwt.runtime.embedded.weights import share_weights
from secfwt.runtime.errors import ServiceError
from secfwt.runtime.parties.certificates import client_context, make_certificates
from secfwt.runtime.parties.connection import Connection, Frame
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.parties.roles import clients_of
from secfwt.runtime.parties.sharing import reconstruct

OWNERS = ("anna", "ben", "carl", "dora")
BOSS = "anna"
SUMMED = PROGRAM.replace("out loss 11 ring=28", "out loss 11 ring=28 max_opened=10000 min_owners=2").replace(
    "end\n", "out noised 11 ring=28 noise=6554 min_owners=2\nend\n"
)
NOISED, DEVIATION = 2, 0.1
MINE = {"anna": X[:1], "ben": X[1:3], "carl": X[3:], "dora": X}
ABC, BC = 0b0111, 0b0110


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, clients=clients_of(OWNERS, BOSS))
    return folder


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("parties")
    named = {"data_owners": OWNERS, "coordinator": BOSS}
    with parties_with_weights(folder, certificates, SUMMED, **named) as running:
        yield running


@pytest.fixture
def service(parties: Running) -> Running:
    """With new weights: no owner is here, nothing is counted, and nobody is in a sum."""
    share_weights(parties.deployment, parties.header, {"w": W})
    return parties


def client(service: Running, name: str) -> Client:
    return Client(service.deployment, name, service.header.hash)


def joined(service: Running, name: str) -> Client:
    owner = client(service, name)
    owner.send_examples(0, len(MINE[name]), given("x", MINE[name]))
    owner.send_examples(1, 1, given("x", MINE[name][:1]))
    owner.join()
    return owner


@contextmanager
def here(service: Running, *names: str) -> Iterator[dict[str, Client]]:
    owners = {name: joined(service, name) for name in names}
    try:
        yield owners
    finally:
        for owner in owners.values():
            owner.close()


def asked(boss: Client, owners: int, number: int = 0) -> np.ndarray:
    return boss.step(number, 3, 0, 3, given("z", Z), OPENED, owners=owners) / 2.0**16


def refusal(service: Running, name: str, owners: int, *, output: int = 0, number: int = 0) -> str:
    """Why the parties refuse a step."""
    size, count = (3, 3) if output == 0 else (30, 1)
    with client(service, name) as asker, pytest.raises(ServiceError) as error:
        asker.step(number, count, output, size, given("z", Z[:count]), OPENED, owners=owners)
    assert error.value.failure == "refused"
    return str(error.value)


def test_the_sum_over_owners_is_that_of_all_their_examples(service: Running) -> None:
    with here(service, "anna", "ben", "carl"), client(service, BOSS) as boss:
        assert boss.owners == ((1, 1), (2, 1), (2, 1), (0, 0))
        assert asked(boss, ABC) == pytest.approx(LOSSES, abs=TOLERANCE)
        dev = np.einsum("eij,jk,cik->c", X[[0, 1, 3]], W, Z.reshape(3, 2, 3))
        assert asked(boss, ABC, 1) == pytest.approx(dev, abs=TOLERANCE)
    with client(service, BOSS) as boss:
        assert boss.opened == (6,)


def test_sums_below_the_minimum_are_refused(service: Running) -> None:
    with here(service, "anna", "ben", "carl"):
        assert "sum over 2 owners at least besides the coordinator, this step has 1" in refusal(service, BOSS, 0b0010)
        # its own examples hide nobody's: it knows what they add
        assert "this step has 1" in refusal(service, BOSS, 0b0011)
        assert "this step has 0" in refusal(service, BOSS, 0b0001)
        with client(service, BOSS) as boss:
            assert boss.opened == (0,)


def test_nobody_gets_what_is_another_ones(service: Running) -> None:
    with here(service, "anna", "ben", "carl"):
        assert "opened to each owner alone" in refusal(service, BOSS, ABC, output=1)
        assert "for anna.secfwt, this client is ben.secfwt" in refusal(service, "ben", ABC)
        assert "for anna.secfwt, this client is ben.secfwt" in refusal(service, "ben", 0b0100, output=1)
        # neither is one's own loss, whose examples might be another's
        assert "never of one owner's own" in refusal(service, BOSS, 0)
        # nor logits of what stands in sums, by whoever else has its key
        assert "they are for sums until it leaves" in refusal(service, "ben", 0, output=1)


def test_an_owner_gets_logits_of_its_own_examples_alone(service: Running) -> None:
    with here(service, "ben"), client(service, "carl") as carl:
        carl.send_examples(0, 2, given("x", X[3:]))
        logits = carl.step(0, 1, 1, 12, given("z", Z[:1]), OPENED) / 2.0**16
        clear = (X[3:] @ W * Z[0].reshape(2, 3)).ravel()
        assert logits == pytest.approx(clear, abs=TOLERANCE)
    # what does not stay goes with the session
    assert "there is no set of examples 0" in refusal(service, "carl", 0, output=1)


def test_nobody_else_hears_of_an_owners_logits(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[list[memoryview]] = []

    def seen(answers: list[memoryview], size: int, ring: int) -> np.ndarray:
        shares.append(answers)
        return reconstruct(answers, size, ring)

    monkeypatch.setattr("secfwt.runtime.embedded.client.reconstruct", seen)
    many = np.resize(X, (200, *X.shape[1:]))
    with here(service, "anna", "ben") as owners:
        with client(service, "carl") as carl:
            carl.send_examples(0, len(many), given("x", many))
            for _ in range(3):
                carl.step(0, 1, 1, 6 * len(many), given("z", Z[:1]), OPENED)
        with here(service, "dora"), client(service, BOSS) as boss:
            assert boss.owners == ((1, 1), (2, 1), (0, 0), (5, 1))  # nor how many examples it had
            asked(boss, 0b1010)
        heard = owners["ben"].listen(0)  # the first that it hears is of its own sum
        assert struct.unpack("<5Q", heard.payloads[0])[3:] == (0b1010, 3)
    for party in range(3):  # and what a party sends, all that it has of them, is uniform, and drawn anew
        first, second, third = (np.frombuffer(answers[party], np.uint8) for answers in shares[:3])
        counts = np.bincount(np.concatenate([first, second, third]), minlength=256)
        due = counts.sum() / 256
        assert abs(((counts - due) ** 2 / due).sum() - 255) < 6 * np.sqrt(2 * 255)
        assert max(np.mean(first == second), np.mean(second == third)) < 0.03


def test_a_sum_has_the_noise_of_three_parties(service: Running) -> None:
    with here(service, "ben", "carl"), client(service, BOSS) as boss:
        clear, many = np.einsum("eij,jk,cik->c", X[1:], W, Z.reshape(3, 2, 3)), np.tile(Z, (400, 1))
        opened = boss.step(0, len(many), NOISED, len(many), given("z", many), OPENED, owners=BC) / 2.0**16
        errors = opened.reshape(-1, 3) - clear
    assert np.abs(errors).max() < 6 * np.sqrt(3) * DEVIATION
    assert errors.std() == pytest.approx(np.sqrt(3) * DEVIATION, rel=0.1)
    assert abs(errors.mean()) < 5 * np.sqrt(3) * DEVIATION / np.sqrt(errors.size)


def test_an_owner_that_joins_again_elsewhere_is_told_at_both_ends(service: Running) -> None:
    with here(service, "ben", "carl") as owners:
        with client(service, "dora") as dora:
            assert dora.owners == ((0, 0),)  # each hears of itself, and of nobody else
        second = client(service, "carl")
        assert second.owners == ((2, 1),)
        second.send_examples(0, 2, given("x", X[:2]))
        second.join()
        with pytest.raises(ServiceError, match=r"carl.secfwt shares examples on another connection: those of this one"):
            owners["carl"].listen(0)
        with client(service, BOSS) as boss:
            clear = np.einsum("eij,jk,cik->c", X[[0, 1, 1, 2]], W, Z.reshape(3, 2, 3))
            assert asked(boss, BC) == pytest.approx(clear, abs=TOLERANCE)
        second.close()
    assert "carl.secfwt shares examples on another connection: those of the connection before" in service.log(0)


def test_one_owner_cannot_take_all_the_room(service: Running) -> None:
    with client(service, "ben") as ben, pytest.raises(ServiceError) as error:
        ben.send_examples(0, 1 << 40, given("x", X[:1]))
    said = re.search(r"of (\S+) MB for each owner's examples, sets of examples hold 0 MB", str(error.value))
    log = re.search(r"takes at most (\S+) MB .*; (\S+) MB of examples from each owner", service.log(error.value.party))
    assert said
    assert log
    assert said[1] == log[2]
    assert float(log[1]) == pytest.approx((len(OWNERS) + 1) * float(log[2]), rel=1e-3)  # a part is for candidates


def test_owners_in_one_sum_are_in_no_other(service: Running) -> None:
    """Sums over two sets of owners would say what the owners that are in one of them say alone."""
    with here(service, *OWNERS):
        with client(service, BOSS) as boss:
            asked(boss, ABC)
        for changed in (BC, 0b1111, 0b1110):
            said = refusal(service, BOSS, changed)
            assert "stand in the sum over anna.secfwt, ben.secfwt, carl.secfwt" in said
            assert "for these weights in no other" in said
        with client(service, BOSS) as boss:
            assert asked(boss, ABC) == pytest.approx(LOSSES, abs=TOLERANCE)


def test_an_owner_that_leaves_takes_its_examples_away_and_may_come_back(service: Running) -> None:
    with here(service, "anna", "ben", "carl") as owners:
        with client(service, BOSS) as boss:
            asked(boss, ABC)
            owners["carl"].close()
            with pytest.raises(ServiceError, match=r"carl.secfwt is not here: it has not joined yet, or has left"):
                asked(boss, ABC)
        assert "and for these weights in no other" in refusal(service, BOSS, 0b0011)  # not without it, either
        with here(service, "carl"), client(service, BOSS) as boss:
            assert asked(boss, ABC) == pytest.approx(LOSSES, abs=TOLERANCE)


def test_a_session_is_one_clients_at_all_parties(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two owners that put their connections together would have parties compute on sets of different sizes."""
    contexts = {name: client_context(service.deployment.certificates, name) for name in ("ben", "carl")}

    def mixed(party: int, address: Any, _: Any, *more: Any) -> Connection:
        return Connection(party, address, contexts["carl" if party else "ben"], *more)

    monkeypatch.setattr("secfwt.runtime.embedded.client.Connection", mixed)
    with pytest.raises(ServiceError, match="was given a different command"):
        client(service, "ben")
    monkeypatch.undo()
    with here(service, "ben", "carl"), client(service, BOSS) as boss:
        assert asked(boss, BC).size == 3


def test_one_example_more_is_no_difference_of_sums(service: Running) -> None:
    with here(service, "ben", "carl") as owners:
        with client(service, BOSS) as boss:
            asked(boss, BC)
        owners["carl"].close()
        carl = client(service, "carl")
        carl.send_examples(0, 3, given("x", X[2:]))
        carl.join()
        said = refusal(service, BOSS, BC)
        assert "carl.secfwt has 3 examples in set 0, sums were opened of 2" in said
        carl.close()


def test_a_party_that_knows_of_no_sum_passes_the_last_word_on(service: Running) -> None:
    with here(service, "ben", "carl") as owners:
        with client(service, BOSS) as boss:
            boss.tell(BC, given("z", Z[:1]))
        assert owners["ben"].listen(48)[0] == Frame.TELL
        with client(service, BOSS) as boss, pytest.raises(ServiceError, match=r"anna.secfwt is not here"):
            boss.tell(ABC, given("z", Z[:1]))


def test_an_owner_that_dies_in_a_step_ends_the_next(service: Running) -> None:
    many = np.tile(Z, (2000, 1))
    results: list[np.ndarray] = []
    with here(service, "ben", "carl") as owners, client(service, BOSS) as boss:
        ask = partial(boss.step, 0, len(many), 0, len(many), given("z", many), OPENED, owners=BC)
        thread = threading.Thread(target=lambda: results.append(ask()))
        thread.start()
        owners["carl"].listen(0)  # the step has begun
        owners["carl"].abort()
        thread.join()
        clear = np.einsum("eij,jk,cik->c", X[1:], W, Z.reshape(3, 2, 3))
        assert results[0].reshape(-1, 3) / 2.0**16 == pytest.approx(np.tile(clear, (2000, 1)), abs=TOLERANCE)
        with pytest.raises(ServiceError, match=r"carl.secfwt is not here"):
            ask()


def test_the_budget_counts_sums(service: Running) -> None:
    many = np.tile(Z, (3334, 1))
    with here(service, "ben", "carl"), client(service, BOSS) as boss, pytest.raises(ServiceError) as error:
        boss.step(0, len(many), 0, len(many), given("z", many), OPENED, owners=BC)
    assert "opened at most 10000 times for these weights: 10000 are left, this step asks for 10002" in str(error.value)


def test_every_opening_is_told_to_those_whose_examples_are_in_it(service: Running) -> None:
    with here(service, "anna", "ben", "carl", "dora") as owners:
        with client(service, BOSS) as boss:
            asked(boss, ABC)
            asked(boss, ABC, 1)
        for name in ("anna", "ben", "carl"):
            for number, examples, opened in ((0, 5, 3), (1, 3, 6)):
                heard = owners[name].listen(0)
                assert heard[:2] == (Frame.NOTICE, 0)
                assert struct.unpack("<5Q", heard.payloads[0]) == (number, 3, examples, ABC, opened)
        with client(service, BOSS) as boss, pytest.raises(ServiceError, match="is in another"):
            boss.tell(0b1111, given("z", Z[:1]))


def test_the_last_word_reaches_owners_and_no_party(service: Running) -> None:
    with here(service, "ben", "carl") as owners:
        with client(service, BOSS) as boss:
            asked(boss, BC)
            boss.tell(BC, given("z", Z[:1]))
            boss.tell(BC, given("z", Z[:1]))
        heard: list[Heard] = []
        for name in ("ben", "carl"):
            owners[name].listen(0)
            heard += [owners[name].listen(48), owners[name].listen(48)]
        shares = np.array([[np.frombuffer(each, "<u8") for each in told.payloads] for told in heard])
        sums = shares.sum(axis=1) % (1 << 44)
        signed = np.where(sums >= 1 << 43, sums.astype(float) - 2.0**44, sums.astype(float)) / 2.0**16
        assert signed == pytest.approx(np.tile(Z[0], (4, 1)), abs=1e-4)
        # what one party had to pass on is fresh each time, and what two of them had does not say the third
        first, second = shares[0], shares[1]
        assert not (first == second).any()


def test_new_weights_send_owners_away(service: Running) -> None:
    with here(service, "ben", "carl") as owners:
        with client(service, BOSS) as boss:
            asked(boss, BC)
        share_weights(service.deployment, service.header, {"w": W})
        owners["ben"].listen(0)
        with pytest.raises(ServiceError, match="the model owner has sent weights: share your examples again"):
            owners["ben"].listen(0)
    with here(service, "anna", "ben", "carl"), client(service, BOSS) as boss:
        assert boss.opened == (0,)
        assert asked(boss, ABC) == pytest.approx(LOSSES, abs=TOLERANCE)  # in another sum than before


def test_who_may_send_what(service: Running) -> None:
    with pytest.raises(ServiceError, match="JOIN comes after the client's own EXAMPLES"), client(service, "ben") as ben:
        ben.join()
    with pytest.raises(ServiceError, match=r"STOP is for data-owner.secfwt"), client(service, BOSS) as boss:
        boss.stop()
    with pytest.raises(ServiceError, match=r"TELL is for anna.secfwt"), client(service, "ben") as ben:
        ben.tell(BC, given("z", Z[:1]))
    with pytest.raises(ServiceError, match="EXAMPLES is for a data owner"), client(service, "model-owner") as model:
        model.send_examples(0, 5, given("x", X))


def test_one_that_speaks_while_it_stays_is_gone(service: Running) -> None:
    with here(service, "ben"):
        carl = joined(service, "carl")
        carl._connections[0]._tls.sendall(b"x")
        assert "carl.secfwt is not here" in refusal(service, BOSS, BC)
        carl.close()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"data_owners": ()}, "this party's deployment names several data owners, the client's none"),
        ({"data_owners": ("ben", "anna", "carl", "dora")}, "another order of them or another coordinator"),
        ({"coordinator": "ben"}, "another order of them or another coordinator"),
    ],
)
def test_nobody_is_mistaken_about_who_they_are(service: Running, named: dict[str, object], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        Client(service.deployment.model_copy(update=named), "ben", service.header.hash)


def test_program_and_deployment_must_agree_on_how_many_owners_there_are(
    tmp_path: Path, certificates: Path, parties: Running
) -> None:
    one = Deployment.local(certificates, threads=1)
    several = one.model_copy(update={"data_owners": OWNERS, "coordinator": BOSS})
    for deployment, text, message in (
        (one, SUMMED, "the deployment names none"),
        (several, PROGRAM, "secfwt-gen --min-owners"),
    ):
        program = write_program(tmp_path, text)
        with pytest.raises(PartyError, match=message):
            LocalParties(replace_ports(deployment), program, tmp_path / "logs").start()


def replace_ports(deployment: Deployment) -> Deployment:
    fresh = Deployment.local(deployment.certificates, threads=1)
    return deployment.model_copy(update={"parties": fresh.parties})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("out logits 7 ring=28 max_candidates=1", "out logits 7 ring=28 min_owners=2"), "a sum over examples"),
        (("min_owners=2", "min_owners=1"), "min_owners"),
    ],
)
def test_programs_that_would_open_one_owners_values_are_refused(
    tmp_path: Path, certificates: Path, change: tuple[str, str], message: str
) -> None:
    several = {"data_owners": OWNERS, "coordinator": BOSS}
    deployment = Deployment.local(certificates, threads=1).model_copy(update=several)
    program = write_program(tmp_path, SUMMED.replace(*change))
    with pytest.raises(PartyError, match=message):
        LocalParties(deployment, program, tmp_path / "logs").start()
