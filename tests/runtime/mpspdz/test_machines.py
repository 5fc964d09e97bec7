"""Supervision of MP-SPDZ's parties, on small programs in their place; no MP-SPDZ needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from secfwt.runtime.errors import ServiceError
from secfwt.runtime.mpspdz import supervisor as mpspdz_party
from secfwt.runtime.mpspdz.machines import MpSpdzParties
from secfwt.runtime.parties.deployment import PartyAddress

NUMBER = "import sys, time\nnumber = int(sys.argv[sys.argv.index('-p') + 1])\n"
SLEEP = "print('ready', flush=True)\ntime.sleep(60)\n"


def fake(folder: Path, code: str) -> Path:
    """A party program in Python."""
    program = folder / "fake-party.x"
    program.write_text(f"#!{sys.executable} -IS\n{NUMBER}{code}")
    program.chmod(0o755)
    return program


def parties(folder: Path, code: str, protocol: str = "ring", stall: float = 60.0, batch: int = 1000) -> MpSpdzParties:
    binary = fake(folder, code)
    return MpSpdzParties(binary, protocol, "program", folder, folder / "logs", stall=stall, batch=batch)


def failure(running: MpSpdzParties, seconds: float = 20.0) -> ServiceError:
    """What `check` says, within seconds."""
    deadline = time.monotonic() + seconds
    with pytest.raises(ServiceError) as error:  # noqa: PT012
        while time.monotonic() < deadline:
            running.check()
            time.sleep(0.05)
    return error.value


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def all_ready(folder: Path) -> bool:
    return all("ready" in (folder / "logs" / f"party{i}.log").read_text() for i in range(3))


@pytest.mark.parametrize(
    ("protocol", "count", "options"),
    [
        ("ring", 3, []),
        ("dealer-ring", 3, ["-d"]),
        ("rep4-ring", 4, []),
        ("semi2k", 2, ["-e", "-N", "2"]),
    ],
)
def test_command_lines(tmp_path: Path, protocol: str, count: int, options: list[str]) -> None:
    with parties(tmp_path, "print(sys.argv[1:])\n", protocol, batch=5000) as running:
        assert running.wait(20) == [0] * count
    for i in range(count):
        want = ["-v", "-ip", "hosts", "-b", "5000", *options, "-p", str(i), "program"]
        assert (tmp_path / "logs" / f"party{i}.log").read_text() == f"{want}\n"
    ports = [line.split(":")[1] for line in (tmp_path / "hosts").read_text().split()]
    assert len(set(ports)) == count
    port = int((tmp_path / "Programs" / "Public-Input" / "program").read_text())
    assert [address[1] for address in running.clients] == list(range(port, port + count))


def test_a_party_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    code = "if number == 1:\n  print('what():  no memory\\n')\n  sys.exit(7)\n" + SLEEP
    with parties(tmp_path, code) as running:
        error = failure(running)
    assert str(error).startswith("party 1: ended with code 7: what():  no memory (log: ")
    assert error.exit_code == 3
    assert None not in running.wait(0)


def test_a_killed_party_is_named(tmp_path: Path) -> None:
    with parties(tmp_path, SLEEP) as running:
        until(lambda: all_ready(tmp_path))
        os.kill(running.pids[2], signal.SIGKILL)
        assert "party 2: was ended by signal 9" in str(failure(running))


def test_a_client_of_another_program_is_said_so(tmp_path: Path) -> None:
    code = "if number == 0:\n  print('client 1 was built for another program')\nelse:\n  print('lost')\nsys.exit(1)\n"
    with parties(tmp_path, code) as running:
        error = failure(running)
    assert error.failure == "refused"
    assert "client 1 was built for another program" in str(error)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    message = "Binding to socket on host:4711 failed (Address already in use), trying again in a second ..."
    code = f"if number == 1:\n  print({message!r}, flush=True)\n" + SLEEP
    with parties(tmp_path, code) as running:
        assert str(failure(running)) == "party 1: port 4711 is in use by another program"


def test_a_hang_is_noticed(tmp_path: Path) -> None:
    with parties(tmp_path, SLEEP, stall=1.0) as running:
        until(lambda: all_ready(tmp_path))
        os.kill(running.pids[1], signal.SIGSTOP)
        until(lambda: running.stopped == 1)
        error = failure(running)
    assert str(error).startswith("party 1: is stopped, nothing computed for 1 s (logs: ")
    assert None not in running.wait(0)  # a stopped process can be ended only by force


def test_one_party_alone(tmp_path: Path) -> None:
    places = [PartyAddress(host=f"mpc{i}", port=5000 + i, client_port=6000) for i in range(3)]
    program = fake(tmp_path, "print('Starting timer 1 at 0', flush=True)\n" + SLEEP)
    running = MpSpdzParties(
        program, "ring", "program", tmp_path, tmp_path / "logs", addresses=places, only=2, stall=1.0
    )
    with running:
        until(lambda: running.commanded)
        assert running.stopped is None
        error = failure(running)
    assert len(running.pids) == 1
    assert str(error).startswith("party 2: nothing computed for 1 s: a party hangs")
    assert (tmp_path / "hosts").read_text() == "mpc0:5000\nmpc1:5001\nmpc2:5002\n"
    assert (tmp_path / "Programs" / "Public-Input" / "program").read_text() == "5998\n"


@pytest.mark.parametrize("code", [0, 1])
def test_a_session_s_end_is_no_failure_where_it_is_seen_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    program = fake(tmp_path, f"print('Stopped timer 1 at 1.5 (2 MB, 7 rounds)')\nsys.exit({code})\n")
    running = MpSpdzParties(program, "ring", "program", tmp_path, tmp_path / "logs", only=0)
    wait, late = running.wait, iter([[None]])

    def wait_and_look_away(seconds: float) -> list[int | None]:
        codes = wait(20)
        return next(late, codes)

    monkeypatch.setattr(running, "wait", wait_and_look_away)
    if code == 0:
        assert mpspdz_party._session(running) == "session over: 1.5 s computing, 2.0 MB sent, 7 rounds"
    else:
        with pytest.raises(ServiceError, match="party 0: ended with code 1"):
            mpspdz_party._session(running)


def test_waiting_for_the_owner_is_no_hang(tmp_path: Path) -> None:
    with parties(tmp_path, SLEEP, stall=0.5) as running:
        until(lambda: all_ready(tmp_path))
        running.check()
        time.sleep(0.8)
        running.idle()
        running.check()


def test_cost_is_what_the_timer_says(tmp_path: Path) -> None:
    code = (
        "print('Starting timer 1 at 0 (0 MB, 0 rounds) after 4.4e-05')\n"
        "print(f'Stopped timer 1 at 0.{5 + number} (1.{number} MB, 1{number} rounds)', flush=True)\n"
    )
    with parties(tmp_path, code + SLEEP) as running:
        until(lambda: all_ready(tmp_path))
        cost = running.cost(1)
        assert running.sent(1) == [1_000_000, 1_100_000, 1_200_000]
    assert (cost.seconds, cost.bytes_sent, cost.rounds) == (0.7, 3_300_000, 12)
    assert cost.peak_bytes > 1_000_000


def test_cost_waits_for_the_command_and_not_for_the_dead(tmp_path: Path) -> None:
    code = "time.sleep(0.5)\nprint(f'Stopped timer 1 at 0.5 (1 MB, 1 rounds)', flush=True)\n" + SLEEP
    with parties(tmp_path, code) as running:
        assert running.cost(1).rounds == 1
        os.kill(running.pids[0], signal.SIGKILL)
        with pytest.raises(ServiceError, match="party 0: was ended by signal 9"):
            running.cost(2)


def test_no_party_outlives_its_owner(tmp_path: Path) -> None:
    owner = (
        "from pathlib import Path\nimport sys, time\nfrom secfwt.runtime.mpspdz.machines import MpSpdzParties\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "running = MpSpdzParties(folder / 'fake-party.x', 'ring', 'program', folder, folder / 'logs')\n"
        "running.start()\nprint(*running.pids, flush=True)\ntime.sleep(60)\n"
    )
    fake(tmp_path, SLEEP)
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        until(lambda: all_ready(tmp_path))
        process.kill()
    assert len(found) == 3
    _, alive = psutil.wait_procs(found, timeout=10)
    assert alive == []
