"""Parties of MP-SPDZ in a deployment: each party, each owner a command of its own; what is refused, and how."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest
from helpers.mpspdz_local import installation
from helpers.tune_runs import BASE, assert_same_losses, ends_for_a_lost_party, goes_on, start, tune, write_toy
from secfwt.codegen.bundle import generate
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.runtime.commands.party import run_party
from secfwt.runtime.embedded.processes import PartyError
from secfwt.runtime.errors import BundleError, CertificateError, SecfwtError, ServiceError
from secfwt.runtime.mpspdz import remote as mpspdz_remote
from secfwt.runtime.mpspdz import supervisor as mpspdz_party
from secfwt.runtime.mpspdz.certificates import link_certificates
from secfwt.runtime.mpspdz.machines import local_addresses
from secfwt.runtime.mpspdz.remote import share_weights_mpspdz
from secfwt.runtime.parties.certificates import make_certificates, make_set
from secfwt.runtime.parties.deployment import Deployment

OPTIONS = GenOptions(
    sequence_length=12, n_prompt_tokens=2, prompt_layer=1, intrinsic_dim=6, popsize=4, labels=("bad", "good"),
    label_texts=("bad", "good"),
)  # fmt: skip
RUN = ["--k-shot", 2, "--popsize", 4, "--eval-every", 1, "--test-limit", 4]

WAIT = 240
"""Seconds that a command may take on a busy machine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its bundle, data, certificates and a deployment file of three parties on this machine."""
    folder = tmp_path_factory.mktemp("deployment")
    model, _ = write_toy(folder)
    program = MpSpdzOptions(examples=8, tile=4)
    generate(model, OPTIONS, folder / "bundle", target="mp-spdz", mp_spdz=program)
    make_certificates(folder / "certificates")
    write_deployment(folder / "deployment.toml", "ring", 3)
    return folder


def write_deployment(path: Path, protocol: str, parties: int) -> Path:
    lines = ['engine = "mp-spdz"', f'protocol = "{protocol}"', 'certificates = "certificates"', "stall_timeout = 20"]
    for each in local_addresses(parties):
        lines += ["[[parties]]", f'host = "{each.host}"', f"port = {each.port}", f"client_port = {each.client_port}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def command(
    module: str, folder: Path, *arguments: object, errors: IO[str] | int = PIPE, groups: Sequence[str] = ("deployment",)
) -> subprocess.Popen[str]:
    given = [*deployments(folder, groups), "--bundle", folder / "bundle", *arguments]
    words = [sys.executable, "-u", "-m", f"secfwt.runtime.commands.{module}", *map(str, given)]
    return subprocess.Popen(words, stdout=PIPE, stderr=errors, text=True)


def deployments(folder: Path, groups: Sequence[str]) -> list[object]:
    return [word for group in groups for word in ("--deployment", folder / f"{group}.toml")]


@pytest.fixture
def parties(folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    installation("ring")
    started = []
    for i in range(3):
        with (folder / f"party{i}.log").open("w") as log:
            started.append(command("party", folder, "--party", i, errors=log))
    yield started
    for process in started:
        process.terminate()
    for process in started:
        process.communicate(timeout=WAIT)


def wait_for_end(folder: Path, session: int) -> None:
    """Until every party has said that this session is over: the next one's owners would meet what is left of it."""
    deadline = time.monotonic() + WAIT
    for i in range(3):
        over = re.compile(rf"^party {i}: session over: .* MB sent, \d+ rounds$", re.MULTILINE)
        while len(over.findall(said := (folder / f"party{i}.log").read_text())) < session:
            assert time.monotonic() < deadline, said
            time.sleep(0.1)


def engine_of(run: Path) -> str:
    return str(json.loads((run / "result.json").read_text())["engine"])


@pytest.mark.slow
def test_every_role_is_a_command(tmp_path: Path, folder: Path, parties: list[subprocess.Popen[str]]) -> None:
    data = ["--data", folder / "films.jsonl", *RUN, "--budget", 8]
    remote = ["--engine", "mp-spdz", "--deployment", folder / "deployment.toml", "--bundle", folder / "bundle"]
    alone = ["--model", folder / "model", *BASE, "--prototype-shots", 0]
    assert tune(*alone, *data, "--run", tmp_path / "clear").exit_code == 0
    for session, run in enumerate(("first", "second"), 1):  # the parties start again for every session
        model_owner = command("weights", folder)
        outcome = tune(*data, *remote, "--run", tmp_path / run)
        output, errors = model_owner.communicate(timeout=WAIT)
        assert outcome.exit_code == 0, outcome.output + errors
        assert model_owner.returncode == 0
        assert "shared for this session of the data owner" in output
        assert "what the parties sent is in their own logs" in outcome.output
        wait_for_end(folder, session)
    assert engine_of(tmp_path / "first") == "mp-spdz (ring)"
    assert_same_losses(tmp_path / "first", tmp_path / "clear", 0.01)
    for party in parties:
        party.terminate()
        assert party.wait(timeout=WAIT) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_two_groups_share_a_run_and_one_goes_on_alone(
    tmp_path: Path, folder: Path, parties: list[subprocess.Popen[str]]
) -> None:
    groups, data = ("deployment", "second"), ["--data", folder / "films.jsonl", *RUN]
    write_deployment(folder / "second.toml", "ring", 3)
    second = []
    for i in range(3):
        with (tmp_path / f"party{i}.log").open("w") as log:
            second.append(command("party", folder, "--party", i, errors=log, groups=("second",)))
    try:
        model_owner = command("weights", folder, groups=groups)
        remote = ["--engine", "mp-spdz", *deployments(folder, groups), "--bundle", folder / "bundle"]
        process = start(*data, *remote, "--run", tmp_path / "run", budget=16)
        second[1].terminate()
        output, errors = process.communicate(timeout=WAIT)
        model_owner.communicate(timeout=WAIT)
    finally:
        for each in second:
            each.terminate()
        for each in second:
            each.communicate(timeout=WAIT)
    assert process.returncode == 0, errors
    assert re.search(r"second\.toml.*party \d", output), output
    alone = ["--model", folder / "model", *BASE, "--prototype-shots", 0]
    assert tune(*alone, *data, "--budget", 16, "--run", tmp_path / "clear").exit_code == 0
    assert engine_of(tmp_path / "run") == "mp-spdz (ring), 2 groups of parties"
    assert_same_losses(tmp_path / "run", tmp_path / "clear", 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_party_that_dies_or_hangs_ends_the_run_and_comes_back(
    tmp_path: Path, folder: Path, parties: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    run = tmp_path / "run"
    common = ["--engine", "mp-spdz", "--deployment", folder / "deployment.toml", "--bundle", folder / "bundle"]
    model_owner = command("weights", folder)
    process = start("--data", folder / "films.jsonl", *RUN, *common, "--run", run)
    model_owner.communicate(timeout=WAIT)
    children = Path(f"/proc/{parties[1].pid}/task/{parties[1].pid}/children").read_text().split()
    os.kill(int(children[0]), number)
    ends_for_a_lost_party(process, run, WAIT)
    model_owner = command("weights", folder)
    goes_on(run)
    model_owner.communicate(timeout=WAIT)


def test_a_party_that_is_not_in_the_deployment(folder: Path) -> None:
    with pytest.raises(PartyError, match="--party is 3: the deployment has parties 0 to 2"):
        run_party(Deployment.load(folder / "deployment.toml"), 3, folder / "bundle")


def test_another_protocol_than_the_program_s(tmp_path: Path, folder: Path) -> None:
    path = write_deployment(tmp_path / "d.toml", "rep4-ring", 4)
    with pytest.raises(BundleError, match=r"program\.mpc is for protocol ring, the deployment's is rep4-ring"):
        run_party(Deployment.load(path), 0, folder / "bundle")
    outcome = tune(
        "--data", folder / "films.jsonl", *RUN, "--engine", "mp-spdz", "--protocol", "rep4-ring", "--deployment", path,
        "--bundle", folder / "bundle",
    )  # fmt: skip
    assert outcome.exit_code == 2
    assert "--protocol is rep4-ring\n  The bundle was generated with ring." in outcome.output


def test_another_engine_than_the_deployment_s(tmp_path: Path, folder: Path) -> None:
    program = folder / "bundle" / "public" / "program.txt"
    assert not program.exists()
    common = ["--data", folder / "films.jsonl", *RUN, "--deployment", folder / "deployment.toml"]
    outcome = tune(*common, "--bundle", folder / "bundle")
    assert outcome.exit_code == 2
    assert "cannot read the bundle" in outcome.output
    both = tmp_path / "both"
    generate(folder / "model", OPTIONS, both, target="all")
    outcome = tune(*common, "--bundle", both, "--run", tmp_path / "run")
    assert outcome.exit_code == 2
    assert "deployment.toml is for --engine mp-spdz, this run's is embedded" in outcome.output
    outcome = tune(*common, "--bundle", both, "--engine", "mp-spdz", "--mp-spdz", "/opt")
    assert "--mp-spdz is given with --deployment" in outcome.output


def test_a_program_that_was_edited_is_refused(tmp_path: Path, folder: Path) -> None:
    bundle = tmp_path / "bundle"
    generate(folder / "model", OPTIONS, bundle, target="mp-spdz")
    source = bundle / "public" / "program.mpc"
    source.write_text(source.read_text() + "print_ln('%s', labels.reveal())\n")
    with pytest.raises(BundleError, match="not as secfwt-gen wrote it"):
        run_party(Deployment.load(folder / "deployment.toml"), 0, bundle)
    source.unlink()
    with pytest.raises(BundleError, match=r"cannot read .*program\.mpc: No such file"):
        run_party(Deployment.load(folder / "deployment.toml"), 0, bundle)


def test_a_bundle_of_an_earlier_version_is_refused(tmp_path: Path, folder: Path) -> None:
    bundle = tmp_path / "bundle"
    generate(folder / "model", OPTIONS, bundle, target="mp-spdz")
    (bundle / "public" / "plan.json").write_text("{}")
    with pytest.raises(ProblemsFound, match=r"says nothing of its mp_spdz"):
        run_party(Deployment.load(folder / "deployment.toml"), 0, bundle)


def test_mp_spdz_for_parties_of_the_embedded_engine(tmp_path: Path) -> None:
    with pytest.raises(PartyError, match="--mp-spdz is /opt: the deployment's engine is embedded"):
        run_party(Deployment.local(tmp_path), 0, tmp_path, "/opt")


def test_certificates_of_a_party(tmp_path: Path) -> None:
    make_certificates(tmp_path / "set")
    (tmp_path / "set" / "party1.pem").unlink()
    with pytest.raises(CertificateError, match=r"party1\.pem is missing; secfwt-certs"):
        link_certificates(tmp_path / "set", tmp_path, [1])
    (tmp_path / "old").mkdir()
    make_set(tmp_path / "old", {"party0": ["party0.secfwt"]}, 1)
    with pytest.raises(CertificateError, match=r"is for party0\.secfwt: MP-SPDZ wants the name P0 in it too"):
        link_certificates(tmp_path / "old", tmp_path, [0])
    (tmp_path / "set" / "party2.key").chmod(0o644)
    with pytest.raises(CertificateError, match="others may read it"):
        link_certificates(tmp_path / "set", tmp_path, [2])


def test_a_port_in_use_is_said_at_once(folder: Path) -> None:
    installation("ring")
    deployment = Deployment.load(folder / "deployment.toml")
    with socket.create_server(("", deployment.parties[1].client_port)), pytest.raises(SecfwtError) as error:
        mpspdz_party.serve(deployment, 1, folder / "bundle")
    assert f"party 1 cannot listen on port {deployment.parties[1].client_port}: Address" in str(error.value)


def test_owners_wait_for_parties_and_then_give_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpspdz_remote, "CONNECT_SECONDS", 0.2)
    notes: list[str] = []
    deployment = Deployment.load(folder / "deployment.toml")
    with pytest.raises(ServiceError, match="party 0: cannot connect to localhost:"):
        share_weights_mpspdz(deployment, folder / "bundle", notes.append, patience=1.5)
    assert len(notes) == 1
    assert notes[0].startswith("waiting  party 0: cannot connect to localhost:")


def test_weights_of_another_model_are_refused(tmp_path: Path, folder: Path) -> None:
    generate(folder / "model", replace(OPTIONS, seed=2), tmp_path / "bundle", target="mp-spdz")
    (tmp_path / "bundle" / "model_owner" / "mp-spdz.safetensors").unlink()
    with pytest.raises(BundleError, match=r"cannot read weights .*mp-spdz\.safetensors"):
        share_weights_mpspdz(Deployment.load(folder / "deployment.toml"), tmp_path / "bundle", print)
