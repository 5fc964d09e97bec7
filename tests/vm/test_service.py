"""Three real parties on this machine: what they compute, whom they refuse, and what they survive."""

import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.parties import (
    CANDIDATE_BYTES,
    EXAMPLE_BYTES,
    LOSSES,
    ONE_CANDIDATE_BYTES,
    OPENED,
    PROGRAM,
    TOLERANCE,
    RawClient,
    Running,
    W,
    X,
    Z,
    check_service,
    given,
    parties_with_weights,
    write_program,
)
from secfwt.runtime.embedded.client import Client
from secfwt.runtime.embedded.engine import EmbeddedEngine
from secfwt.runtime.embedded.processes import LocalParties, PartyError, vm_command
from secfwt.runtime.embedded.weights import WeightsError, share_bundle, share_weights
from secfwt.runtime.engine import Batch
from secfwt.runtime.errors import InputError, ServiceError
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.connection import HEADER, MAGIC, Frame
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.parties.sharing import encode


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Running]:
    with parties_with_weights(tmp_path_factory.mktemp("service"), certificates) as running:
        yield running


@pytest.fixture
def own_service(tmp_path: Path, certificates: Path) -> Iterator[Running]:
    """For a test that ends the parties."""
    with parties_with_weights(tmp_path, certificates) as running:
        yield running


# What a session is for


def test_results_are_those_of_the_clear_computation(service: Running):
    engine = EmbeddedEngine(service.deployment, service.header)
    engine.load_examples("train", Batch({"x": X}))
    engine.load_examples("dev", Batch({"x": X[:2]}))
    assert engine.losses("train", Z) == pytest.approx(LOSSES, abs=TOLERANCE)
    clear = (X[:2] @ W * Z[1].reshape(2, 3)).reshape(2, -1)
    assert engine.logits("dev", Z[1]) == pytest.approx(clear, abs=TOLERANCE)
    cost = engine.cost()
    assert cost.steps == 2
    assert cost.rounds > 0
    assert cost.bytes_sent > 24 * 5 * 6
    assert 1e6 < cost.peak_bytes < 1e9
    engine.leave()


def test_weights_and_examples_outlive_a_session(service: Running):
    check_service(service.deployment, service.header)
    with Client(service.deployment, "data-owner", service.header.hash) as client:
        assert client.weights_loaded
        assert client.step(0, 3, 0, 3, given("z", Z), OPENED) / 2.0**16 == pytest.approx(LOSSES, abs=TOLERANCE)


def test_a_set_in_anothers_place_takes_no_more_memory(own_service: Running):
    batch, kept = Batch({"x": np.zeros((200_000, 2, 4))}), 200_000 * 2 * 6 * 8
    engine = own_service.session()
    for name in ("train", "dev"):
        engine.load_examples(name, batch)
    held = engine.cost().peak_bytes
    for _ in range(3):
        engine.load_examples("train", batch)
    assert engine.cost().peak_bytes < held + kept / 2
    engine.load_examples("test", batch)
    assert engine.cost().peak_bytes > held + kept / 2
    engine.close()


def test_new_weights_forget_the_examples_computed_with_the_old(service: Running):
    check_service(service.deployment, service.header)
    share_weights(service.deployment, service.header, {"w": W})
    with (
        Client(service.deployment, "data-owner", service.header.hash) as client,
        pytest.raises(ServiceError, match="no set of examples 0"),
    ):
        client.step(0, 3, 0, 3, given("z", Z), OPENED)


def test_stop_ends_all_parties_with_exit_code_0(own_service: Running):
    engine = EmbeddedEngine(own_service.deployment, own_service.header)
    engine.close()
    assert own_service.local.wait(5) == [0, 0, 0]


def test_a_bundle_is_shared(service: Running, tmp_path: Path):
    from safetensors.numpy import save_file

    (tmp_path / "public").mkdir()
    (tmp_path / "model_owner").mkdir()
    write_program(tmp_path / "public")
    save_file({"w": encode(W, 16, "w")}, tmp_path / "model_owner" / "weights.safetensors")
    share_bundle(service.deployment, tmp_path)
    check_service(service.deployment, service.header)
    save_file({"v": W, "w": W[:2]}, tmp_path / "model_owner" / "weights.safetensors")
    with pytest.raises(WeightsError, match=r"v is unknown; w has shape \[2, 3\], expected \[4, 3\]"):
        share_bundle(service.deployment, tmp_path)


# Whom the parties refuse


def refused(service: Running, role: str, kind: int, argument: int, payload: bytes, length: int | None = None) -> str:
    client = service.raw(role)
    client.hello()
    for party in range(3):
        client.send(party, kind, argument, payload, length)
    errors = []
    for party in range(3):
        with pytest.raises(ServiceError) as error:
            client.read(party)
        errors.append(error.value)
    client.die()
    # One is enough to end the session: the others may hear of that first.
    assert {error.failure for error in errors} <= {"refused", "consequence"}
    return next(str(error) for error in errors if error.failure == "refused")


def numbers(*values: int) -> bytes:
    return b"".join(v.to_bytes(8, "little") for v in values)


def test_only_the_model_owner_sends_weights(service: Running):
    assert "WEIGHTS is for model-owner" in refused(service, "data-owner", Frame.WEIGHTS, 0, b"")


@pytest.mark.parametrize("kind", [Frame.EXAMPLES, Frame.STEP, Frame.STOP])
def test_the_model_owner_sends_nothing_else(service: Running, kind: Frame):
    text = refused(service, "model-owner", kind, 0, b"")
    assert "is for data-owner" in text or "no set of examples" in text


def test_a_step_needs_examples(service: Running):
    assert "no set of examples 77" in refused(service, "data-owner", Frame.STEP, 77, numbers(1, 0, 0, 0))


def test_an_output_is_opened_for_no_more_candidates_than_the_program_says(service: Running):
    check_service(service.deployment, service.header)
    assert "logits is opened for at most 1 candidates" in refused(
        service, "data-owner", Frame.STEP, 0, numbers(2, 1, 0, 0) + bytes(16 + 2 * 48)
    )
    assert "no output 9" in refused(service, "data-owner", Frame.STEP, 0, numbers(2, 9, 0, 0) + bytes(16 + 2 * 48))
    assert "a step cannot begin at place 1; the last one is 0" in refused(
        service, "data-owner", Frame.STEP, 0, numbers(2, 0, 1, 0) + bytes(16 + 2 * 48)
    )


@pytest.mark.parametrize(
    ("payload", "length", "message"),
    [
        (b"", 0, "EXAMPLES has 0 bytes, expected 8"),
        (numbers(0), 8, "0 examples: this party can take 1 to"),
        (numbers(2**62), 2**63, f"{2**62} examples: this party can take 1 to"),
        (numbers(5), 8 + 16, "EXAMPLES has 24 bytes, expected "),
        (numbers(5), 2**40, "EXAMPLES has 1099511627776 bytes, expected "),
        (numbers(5) + bytes(16 + 8 * 40), 8 + 16 + 8 * 40, "example inputs, packed to their rings"),
        (numbers(5) + bytes(16 + 106), 8 + 16 + 106, "EXAMPLES has 130 bytes, expected "),
    ],
)
def test_sizes_are_checked_before_anything_is_allocated(service: Running, payload: bytes, length: int, message: str):
    assert message in refused(service, "data-owner", Frame.EXAMPLES, 0, payload, length)


def test_a_client_of_another_program_is_refused(service: Running):
    with pytest.raises(ServiceError, match=r"the client's program \(sha256 0000000000000000") as error:
        Client(service.deployment, "data-owner", bytes(32))
    assert error.value.failure == "refused"


def test_a_second_client_hears_that_the_parties_are_busy(service: Running):
    with Client(service.deployment, "data-owner", service.header.hash):
        began = time.monotonic()
        with pytest.raises(ServiceError, match="busy: another session is active") as error:
            Client(service.deployment, "data-owner", service.header.hash, patience=0)
        assert error.value.failure == "busy"
        assert time.monotonic() - began < 3
    Client(service.deployment, "data-owner", service.header.hash).close()


def test_a_client_of_another_authority_is_refused(service: Running, tmp_path: Path):
    make_certificates(tmp_path)
    stranger = service.deployment.model_copy(update={"certificates": tmp_path})
    with pytest.raises(ServiceError, match="does not prove to be party"):
        Client(stranger, "data-owner", service.header.hash)
    # One that would accept our parties, but that we do not know.
    (tmp_path / "ca.pem").write_bytes((service.deployment.certificates / "ca.pem").read_bytes())
    with pytest.raises(ServiceError, match="does not accept this client's certificate"):
        Client(stranger, "data-owner", service.header.hash)
    check_service(service.deployment, service.header)


def test_a_party_cannot_pose_as_a_client(service: Running):
    client = service.raw("party1")
    with pytest.raises((ServiceError, OSError)):
        client.hello()
    client.die()
    check_service(service.deployment, service.header)


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(0x12345678, 1, 0, 32) + bytes(32),
        HEADER.pack(MAGIC, 1, 0, 2**60),
        HEADER.pack(MAGIC, 4, 0, 32) + bytes(32),
    ],
)
def test_the_first_frame_must_be_hello(service: Running, data: bytes):
    client = service.raw()
    client.connections[1].connect()
    client.raw(1, data)
    with pytest.raises(ServiceError, match="expected HELLO"):
        client.read(1)
    client.die()


def test_a_client_of_another_wire_version_is_told_so(service: Running):
    client = service.raw()
    client.connections[1].connect()
    client.raw(1, HEADER.pack(0x31544653, Frame.HELLO, 0, 32) + bytes(32))
    with pytest.raises(ServiceError, match="speaks another version of this protocol than this party"):
        client.read(1)
    client.die()


def test_noise_is_no_frame(service: Running):
    client = service.raw()
    client.hello()
    for party in range(3):
        client.raw(party, bytes(24))
    with pytest.raises(ServiceError, match=r"is not a frame|ended the session"):
        client.read(2)
    client.die()
    assert "frames of kind 42" in refused(service, "data-owner", 42, 0, b"")


def test_strangers_without_tls_change_nothing(service: Running):
    sockets = [socket.create_connection((p.host, p.port)) for p in service.deployment.parties for _ in range(5)]
    for each in sockets[::2]:
        each.sendall(b"GET / HTTP/1.0\r\n\r\n" * 100)
    check_service(service.deployment, service.header)
    for each in sockets:
        each.close()


# What the parties survive


def upload(client: RawClient, bytes_per_party: tuple[int, int, int]) -> None:
    """EXAMPLES as far as some byte, different for each party."""
    for party, n in enumerate(bytes_per_party):
        length = 8 + (32 if party == 0 else 16 + EXAMPLE_BYTES)
        data = HEADER.pack(MAGIC, Frame.EXAMPLES, 0, length) + numbers(5) + bytes(length - 8)
        if n:
            client.raw(party, data[:n])


def command(client: RawClient, party: int, candidates: int = 3) -> None:
    packed = ONE_CANDIDATE_BYTES * candidates
    client.send(party, Frame.STEP, 0, numbers(candidates, 0, 0, 0) + bytes(32 if party == 0 else 16 + packed))


@pytest.mark.parametrize(
    "progress",
    [(24, 0, 0), (10, 30, 0), (1000, 60, 25), (1000, 1000, 100), (1000, 1000, 1000), (0, 0, 1000), (0, 1000, 0)],
)
def test_a_client_that_dies_while_it_sends_leaves_the_parties_ready(service: Running, progress: tuple[int, int, int]):
    client = service.raw()
    client.hello()
    upload(client, progress)
    client.die()
    check_service(service.deployment, service.header)


@pytest.mark.parametrize("told", [(0,), (2,), (0, 1), (0, 1, 2)])
def test_a_client_that_dies_in_a_step_leaves_the_parties_ready(service: Running, told: tuple[int, ...]):
    check_service(service.deployment, service.header)
    client = service.raw()
    client.hello()
    for party in told:
        command(client, party)
    client.die()
    check_service(service.deployment, service.header)


def test_a_client_that_reaches_only_some_parties_is_dropped(service: Running):
    client = service.raw()
    client.hello((0, 2))
    with pytest.raises(ServiceError) as error:
        client.read(0)
    assert error.value.failure == "busy"
    check_service(service.deployment, service.header)
    client.die()


def test_different_commands_are_not_started(service: Running):
    check_service(service.deployment, service.header)
    client = service.raw()
    client.hello()
    for party in range(3):
        command(client, party, candidates=2 if party == 1 else 3)
    with pytest.raises(ServiceError, match="was given a different command") as error:
        client.read(0)
    assert error.value.failure == "consequence"
    client.die()
    check_service(service.deployment, service.header)


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("kind", [Frame.EXAMPLES, Frame.STEP])
def test_shares_that_contradict_each_other_are_not_computed_with(service: Running, kind: Frame, component: int):
    """The two holders of a component get different ones: all three end the session, also the one that lacks it."""
    check_service(service.deployment, service.header)
    client = service.raw()
    client.hello()
    size, prefix = (CANDIDATE_BYTES, numbers(3, 0, 0, 0)) if kind == Frame.STEP else (EXAMPLE_BYTES, numbers(5))
    components = [bytes(16), bytes(16), bytes(size)]
    for party in range(3):
        given = list(components)
        if party == component:
            given[component] = b"\1" + given[component][1:]
        client.send(party, kind, 0, prefix + given[party] + given[(party + 1) % 3])
    said = []
    for party in range(3):
        with pytest.raises(ServiceError, match="was given a different command") as error:
            client.read(party)
        said.append(error.value.failure)
    assert said == ["consequence"] * 3
    client.die()
    check_service(service.deployment, service.header)


def test_clients_that_die_at_random_moments(service: Running):
    chance = random.Random(5)
    check_service(service.deployment, service.header)
    for session in range(40):
        client = service.raw()
        with suppress(ServiceError, OSError):  # busy, or dropped
            reached = sorted(chance.sample(range(3), chance.choice([2, 3, 3, 3])))
            client.hello(tuple(reached), session)
            for party in chance.sample(reached, chance.randint(0, len(reached))):
                if chance.random() < 0.5:
                    command(client, party)
                else:
                    upload(client, tuple(chance.randint(0, 60) * (i == party) for i in range(3)))
            if chance.random() < 0.3:
                client.connections[reached[0]]._tls.settimeout(0.2)
                client.read(reached[0])
        client.die()
    check_service(service.deployment, service.header)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_killed_party_is_named_by_all(own_service: Running, victim: int):
    engine = EmbeddedEngine(own_service.deployment, own_service.header)
    engine.load_examples("train", Batch({"x": X}))
    killed = threading.Timer(0.2, os.kill, (own_service.local.pids[victim], signal.SIGKILL))
    killed.start()
    began = time.monotonic()

    def run() -> None:
        while time.monotonic() - began < 20:
            engine.losses("train", Z)

    with pytest.raises(ServiceError, match=f"party {victim}") as error:
        run()
    assert error.value.party == victim
    assert time.monotonic() - began < 5
    codes = own_service.local.wait(5)
    assert [code for i, code in enumerate(codes) if i != victim] == [3, 3]
    for i in {0, 1, 2} - {victim}:
        assert f"party {victim} is gone" in own_service.local._logs[i].read_text()


def test_a_stopped_party_is_named_and_can_go_on(own_service: Running):
    patient = own_service.deployment.model_copy(update={"stall_timeout": 5})
    engine = EmbeddedEngine(patient, own_service.header)
    engine.load_examples("train", Batch({"x": X}))
    os.kill(own_service.local.pids[1], signal.SIGSTOP)
    with pytest.raises(ServiceError, match="party 1: no sign of life for 5 s: it is stopped, or its host hangs"):
        engine.losses("train", Z)
    os.kill(own_service.local.pids[1], signal.SIGCONT)
    check_service(own_service.deployment, own_service.header)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_party_that_its_operator_ends_says_so(own_service: Running, victim: int):
    """To the other two, and to the client: nobody has to look for a crash."""
    engine = EmbeddedEngine(own_service.deployment, own_service.header)
    engine.load_examples("train", Batch({"x": X}))
    threading.Timer(0.2, os.kill, (own_service.local.pids[victim], signal.SIGTERM)).start()
    began = time.monotonic()

    def run() -> None:
        while time.monotonic() - began < 20:
            engine.losses("train", Z)

    with pytest.raises(ServiceError, match=f"party {victim}: ended by its operator|party {victim} is gone"):
        run()
    codes = own_service.local.wait(5)
    assert codes == [-signal.SIGTERM if i == victim else 3 for i in range(3)]
    for i in {0, 1, 2} - {victim}:
        assert f"party {victim} is gone: it was ended by its operator" in own_service.local._logs[i].read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "examples"), [(0, 300_000), (1, 5)])
def test_a_party_that_is_stopped_in_a_step_is_named_by_all(own_service: Running, victim: int, examples: int):
    """In a large step its peers notice that it takes nothing of what they send, after 10 s; in a small one, and between
    steps, that it gives no sign of life for 20 s."""
    engine = EmbeddedEngine(own_service.deployment, own_service.header)
    engine.load_examples("train", Batch({"x": np.tile(X, (examples // 5, 1, 1))}))
    threading.Timer(0.5, os.kill, (own_service.local.pids[victim], signal.SIGSTOP)).start()
    began = time.monotonic()

    def run() -> None:
        while time.monotonic() - began < 60:
            engine.losses("train", Z)

    with pytest.raises(ServiceError, match=f"party {victim}.*: no sign of life.*: it is stopped, or its host hangs"):
        run()
    assert time.monotonic() - began < 40
    os.kill(own_service.local.pids[victim], signal.SIGCONT)  # it finds that they are gone
    assert own_service.local.wait(20) == [3, 3, 3]


def test_a_party_that_waits_gives_signs_of_life(service: Running):
    client = service.raw()
    client.hello()
    client.send(0, Frame.STOP, 0, b"")  # the others have not heard of it
    assert client.connections[0]._read_frame() == (Frame.PROGRESS, 0, bytes(8))
    client.die()
    check_service(service.deployment, service.header)


def test_an_idle_party_notices_that_another_is_gone(own_service: Running):
    os.kill(own_service.local.pids[0], signal.SIGTERM)
    assert own_service.local.wait(5)[1:] == [3, 3]


# How sessions end


def logs(service: Running) -> str:
    return "".join(path.read_text() for path in service.local._logs)


def test_sessions_that_end_as_they_should_raise_no_alarm(own_service: Running):
    """The model owner's, one of a data owner who leaves, and one of a data owner who stops the parties."""
    check_service(own_service.deployment, own_service.header)
    EmbeddedEngine(own_service.deployment, own_service.header).close()
    assert own_service.local.wait(5) == [0, 0, 0]
    lines = {line for line in logs(own_service).splitlines() if "ends:" in line}
    owners = ("model-owner", "data-owner")
    assert lines == {f"session of {owner}.secfwt ends: it closed the connection" for owner in owners}
    assert "gone" not in logs(own_service)


def test_a_client_that_dies_is_reported(own_service: Running):
    client = own_service.raw()
    client.hello()
    client.die()
    deadline = time.monotonic() + 20
    while "session of data-owner.secfwt ends: connection closed without a goodbye" not in logs(own_service):
        assert time.monotonic() < deadline, logs(own_service)
        time.sleep(0.02)


def running(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_party_leaves_no_core_dump(service: Running):
    for pid in service.local.pids:
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text())


@pytest.mark.skipif(os.getuid() == 0, reason="root's processes belong to root in any case")
def test_a_party_cannot_be_looked_into(service: Running):
    """Neither a debugger of the same user nor a collector of dumps: its memory belongs to root."""
    for pid in service.local.pids:
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0


def test_parties_do_not_outlive_the_process_that_started_them(certificates: Path, tmp_path: Path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom secfwt.runtime.parties.deployment import Deployment\n"
        "from secfwt.runtime.embedded.processes import LocalParties\n"
        "certificates, program, logs = map(Path, sys.argv[1:])\n"
        "local = LocalParties(Deployment.local(certificates, 1), program, logs)\n"
        "local.start()\nprint(*local.pids, flush=True)\ntime.sleep(60)\n"
    )
    arguments = [str(path) for path in (certificates, write_program(tmp_path), tmp_path)]
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    deadline = time.monotonic() + 5
    while alive := [pid for pid in pids if running(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)


# What keeps a party from starting


def fails_to_start(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2, done
    assert not done.stdout
    return done.stderr


def local_command(certificates: Path, program: Path, party: int = 0, timeout: int = 1) -> list[str]:
    deployment = Deployment.local(certificates).model_copy(update={"connect_timeout": timeout})
    return vm_command(deployment, party, program)


def test_a_deployment_s_numbers_reach_the_party(certificates: Path, tmp_path: Path):
    deployment = Deployment.local(certificates).model_copy(update={"lanes": 5, "ahead_mb": 7, "connect_timeout": 9})
    command = vm_command(deployment, 0, write_program(tmp_path))
    given = {option: command[command.index(option) + 1] for option in ("--lanes", "--ahead-mb", "--connect-timeout")}
    assert given == {"--lanes": "5", "--ahead-mb": "7", "--connect-timeout": "9"}


def replaced(command: list[str], option: str, value: object) -> list[str]:
    i = command.index(option)
    return [*command[: i + 1], str(value), *command[i + 2 :]]


def test_a_taken_port(certificates: Path, tmp_path: Path):
    command = local_command(certificates, write_program(tmp_path))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        text = fails_to_start(replaced(command, "--listen", address))
    assert text == f"secfwt-vm: cannot listen on {address}: Address already in use\n"


def test_files_that_cannot_be_used(certificates: Path, tmp_path: Path):
    program = write_program(tmp_path)
    command = local_command(certificates, program)
    assert "cannot read program /nowhere" in fails_to_start(replaced(command, "--program", "/nowhere"))
    assert "cannot read authority /nowhere" in fails_to_start(replaced(command, "--ca", "/nowhere"))
    assert "is not for party0.secfwt" in fails_to_start(
        replaced(replaced(command, "--cert", certificates / "party1.pem"), "--key", certificates / "party1.key")
    )
    assert "does not fit certificate" in fails_to_start(replaced(command, "--key", certificates / "party1.key"))
    key = tmp_path / "party0.key"
    key.write_bytes((certificates / "party0.key").read_bytes())
    key.chmod(0o640)
    assert f"key {key} has mode 0640" in fails_to_start(replaced(command, "--key", key))
    program.write_text(PROGRAM.replace("matmul 3,0", "matmul 3,9"))
    assert "program: " in fails_to_start(command)


def test_options_that_cannot_be_used(certificates: Path, tmp_path: Path):
    command = local_command(certificates, write_program(tmp_path))
    assert "--threads 0: expected a number from 1 to 1024" in fails_to_start([*command, "--threads", "0"])
    assert "--listen nowhere: expected HOST:PORT" in fails_to_start(replaced(command, "--listen", "nowhere"))
    assert "unknown option --colour" in fails_to_start([*command, "--colour", "red"])
    assert "--peer1 is missing" in fails_to_start([*command[:5], "--ca", "x"])
    assert "--key needs a value" in fails_to_start([*command, "--key"])


def test_parties_that_do_not_come(certificates: Path, tmp_path: Path):
    program = write_program(tmp_path)
    assert "party 1 did not connect in time" in fails_to_start(local_command(certificates, program, 0))
    assert "cannot connect to party 0 at 127.0.0.1:" in fails_to_start(local_command(certificates, program, 2))


def mixed_start(tmp_path: Path, certificates: Path, odd: list[str], value: list[str]) -> str:
    """Start three parties, party 1 with other values of some options; the message of why they did not start."""
    deployment = Deployment.local(certificates).model_copy(update={"connect_timeout": 3})
    local = LocalParties(deployment, write_program(tmp_path), tmp_path / "logs")
    for option, text in zip(odd, value, strict=True):
        local._commands[1] = replaced(local._commands[1], option, text)
    with pytest.raises(PartyError) as error:
        local.start()
    return str(error.value)


def test_parties_with_different_programs(certificates: Path, tmp_path: Path):
    other = tmp_path / "other.txt"
    other.write_text(PROGRAM.replace("name=w", "name=v"))
    assert "runs another program" in mixed_start(tmp_path, certificates, ["--program"], [str(other)])


def test_parties_that_cut_steps_differently(certificates: Path, tmp_path: Path):
    """Tiles decide which pads a message takes: parties that disagree must not start."""
    deployment = Deployment.local(certificates).model_copy(update={"connect_timeout": 3})
    local = LocalParties(deployment, write_program(tmp_path), tmp_path / "logs")
    local._commands[1] += ["--tile-words", "4096"]
    with pytest.raises(PartyError, match="another --tile-words"):
        local.start()


def test_parties_of_different_authorities(certificates: Path, tmp_path: Path):
    make_certificates(tmp_path / "foreign")
    files = [str(tmp_path / "foreign" / name) for name in ("ca.pem", "party1.pem", "party1.key")]
    text = mixed_start(tmp_path, certificates, ["--ca", "--cert", "--key"], files)
    assert "self-signed certificate in certificate chain" in text or "unable to get local issuer certificate" in text


def connected_as(party: int, deployment: Deployment) -> ssl.SSLSocket:
    """To party 0, as soon as it listens."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=deployment.certificates / "ca.pem")
    context.load_cert_chain(*(deployment.certificates / f"party{party}{suffix}" for suffix in (".pem", ".key")))
    deadline = time.monotonic() + 20
    while True:
        try:
            raw = socket.create_connection((deployment.parties[0].host, deployment.parties[0].port), 5)
            return context.wrap_socket(raw, server_hostname="party0.secfwt")
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("channel", "known"), [(0, True), (1, True), (1 << 31, False), (65, False), ((1 << 32) - 3, False)]
)
def test_a_party_sends_on_its_channels_only(certificates: Path, tmp_path: Path, channel: int, known: bool):
    """Peers by hand, with the parties' certificates: one lane, and no series that tuples were for."""
    deployment = Deployment.local(certificates, threads=1).model_copy(update={"lanes": 1})
    process = subprocess.Popen(
        vm_command(deployment, 0, write_program(tmp_path)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        with connected_as(1, deployment) as peer, connected_as(2, deployment):
            peer.sendall(channel.to_bytes(4, "little") + (4).to_bytes(4, "little") + bytes(4))
            if known:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.5)
            else:
                _, said = process.communicate(timeout=20)
                assert f"party 1 is gone: it sent a message on channel {channel}, which is for nothing" in said
    finally:
        process.kill()
        process.communicate()


def test_examples_that_do_not_fit_the_program(service: Running):
    engine = EmbeddedEngine(service.deployment, service.header)
    with pytest.raises(InputError, match=r"x has shape \[5, 4, 2\], expected \[5, 2, 4\]"):
        engine.load_examples("train", Batch({"x": X.reshape(5, 4, 2)}))
    with pytest.raises(InputError, match="there is no set of examples 'test'; known: none"):
        engine.losses("test", Z)
    engine.load_examples("train", Batch({"x": X}))
    with pytest.raises(InputError, match="candidates have 5 coordinates, the program takes 6"):
        engine.losses("train", Z[:, :5])
    engine.leave()
