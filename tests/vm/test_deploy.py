"""What deploy/ holds: manifests that are valid and start what a deployment file would, scripts that run, a recipe."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
from helpers.helm import Helm
from helpers.parties import LOSSES, TOLERANCE, W, X, Z, check_service, write_program
from helpers.places import ROOT
from rich.console import Console
from secfwt.codegen.native.binaries import VM, BinaryMissing, find
from secfwt.codegen.ring.header import read_program
from secfwt.runtime.embedded.processes import vm_command
from secfwt.runtime.embedded.running import remote_engine
from secfwt.runtime.embedded.weights import share_weights
from secfwt.runtime.engine import Batch
from secfwt.runtime.errors import ServiceError
from secfwt.runtime.groups.opening import opened_groups
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.progress import PlainDisplay

try:
    find(VM)
except BinaryMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def values(party: int, deployments: list[Deployment], **more: Any) -> dict[str, Any]:
    """What the organisation that is this party says."""
    return {
        "party": party,
        "groups": [[each.address for each in deployment.parties] for deployment in deployments],
        "image": {"repository": "registry.example.org/secfwt-party", "tag": "1"},
        "certificates": f"secfwt-party{party}",
        "program": {"claim": "bundle"},
        "memory": {"model": 200, "perExample": 1.5, "examples": 64},
        "threads": 1,
        **more,
    }


def containers(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The one container of each group, in their order."""
    sets = sorted((o for o in objects if o["kind"] == "StatefulSet"), key=lambda o: str(o["metadata"]["name"]))
    return [container for o in sets for container in o["spec"]["template"]["spec"]["containers"]]


def test_the_chart_is_valid_and_its_parties_have_no_rights(helm: Helm, certificates: Path) -> None:
    deployments = [Deployment.local(certificates) for _ in range(2)]
    pins = {"party1": "a" * 64, "data-owner": "b" * 64}
    given = values(
        1, deployments, allowedFrom=["198.51.100.0/24"], pins=pins, service={"annotations": {"a": "b"}},
        nodeSelector={"disk": "none"}, tolerations=[{"key": "mpc", "operator": "Exists"}],
    )  # fmt: skip
    assert helm("lint", "--strict", values=given).returncode == 0
    objects = helm.rendered("org1", given)
    assert sorted(o["kind"] for o in objects) == ["NetworkPolicy"] * 2 + ["Service"] * 2 + ["StatefulSet"] * 2
    for each in objects:
        kubernetes_validate.validate(each, "1.37", strict=True)
    for each in (o for o in objects if o["kind"] == "StatefulSet"):
        pod = each["spec"]["template"]["spec"]
        assert each["spec"]["replicas"] == 1
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert "command" not in container  # no shell: the image's program
        assert all(mount["readOnly"] for mount in container["volumeMounts"])
        assert container["resources"]["limits"] == {"memory": f"{2 * (200 + 96) + 256 + 256}M"}
        assert container["args"][-2:] == ["--pins", f"data-owner.secfwt={'b' * 64},party1.secfwt={'a' * 64}"]


def test_a_container_s_options_are_those_of_a_deployment_file(helm: Helm, certificates: Path, tmp_path: Path) -> None:
    program = write_program(tmp_path)
    deployment = Deployment.local(certificates, threads=3)
    (container,) = containers(helm.rendered("org2", values(2, [deployment], threads=3)))
    expected = vm_command(deployment, 2, program)[1:]
    paths = {str(program): "/program/program.txt", "127.0.0.1": "0.0.0.0"}
    paths |= {str(certificates / name): f"/certificates/{name}" for name in ("ca.pem", "party2.pem", "party2.key")}
    expected = [paths.get(word, word) for word in expected]
    listen = expected.index("--listen") + 1
    expected[listen] = expected[listen].replace("127.0.0.1", "0.0.0.0")
    pairs = [dict(zip(words[::2], words[1::2], strict=True)) for words in (container["args"], expected)]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"party": 3}, "/party"),
        ({"groups": []}, "/groups"),
        ({"groups": [["a:1", "b:2"]]}, "/groups/0"),
        ({"groups": [["a:1", "b:2", "c"]]}, "/groups/0/2"),
        ({"image": {"repository": "r", "tag": ""}}, "/image"),
        ({"memory": {"model": 1, "perExample": 0, "examples": 1}}, "/memory/perExample"),
        ({"replicas": 2}, "replicas"),
    ],
)
def test_values_that_start_no_party_are_refused(
    helm: Helm, certificates: Path, wrong: dict[str, Any], said: str
) -> None:
    done = helm("template", "org", values=values(0, [Deployment.local(certificates)]) | wrong)
    assert done.returncode != 0
    assert said in done.stderr


def started(command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})


def ended(processes: list[subprocess.Popen[bytes]]) -> None:
    for each in processes:
        each.terminate()
    for each in processes:
        each.wait(20)


def shared(deployment: Deployment, program: Path, seconds: float = 30.0) -> None:
    """The weights, as soon as the parties are there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            share_weights(deployment, read_program(program), {"w": W})
            return
        except ServiceError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_the_containers_of_three_organisations_are_two_groups(helm: Helm, certificates: Path, tmp_path: Path) -> None:
    """Their very options, as processes of this machine."""
    program, processes = write_program(tmp_path), list[subprocess.Popen[bytes]]()
    deployments = [Deployment.local(certificates, threads=1) for _ in range(2)]
    try:
        for party in range(3):
            for k, container in enumerate(containers(helm.rendered(f"org{party}", values(party, deployments)))):
                words = [w.replace("/program/", f"{tmp_path}/") for w in container["args"]]
                words = [w.replace("/certificates/", f"{certificates}/") for w in words]
                processes.append(started([str(find(VM)), *words], tmp_path / f"{party}-{k}.log"))
        files = [tmp_path / "a.toml", tmp_path / "b.toml"]
        for deployment, file in zip(deployments, files, strict=True):
            deployment.save(file)
            shared(deployment, program)
        with ExitStack() as stack:
            engine = stack.enter_context(
                opened_groups(
                    [str(file) for file in files],
                    lambda path, progress: remote_engine(path, program, progress),
                    PlainDisplay(Console(quiet=True)),
                )
            )
            engine.load_examples("train", Batch({"x": X}))
            assert np.allclose(engine.losses("train", Z), LOSSES, atol=TOLERANCE)
    finally:
        ended(processes)


def test_the_slurm_script_starts_a_lost_party_s_group_again(certificates: Path, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    program = write_program(tmp_path / "public")
    (tmp_path / "groups").mkdir()
    deployment = Deployment.local(certificates, threads=1)
    deployment.save(tmp_path / "groups" / "5.toml")
    script = ["bash", str(ROOT / "deploy" / "party.sbatch")]
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    assert subprocess.run([*script, "0"], capture_output=True, timeout=20).returncode == 2
    processes = [
        started(
            [*script, str(i), str(tmp_path / "groups"), str(tmp_path)], tmp_path / f"{i}.log", PATH=path,
            SLURM_ARRAY_TASK_ID="5",
        )
        for i in range(3)
    ]  # fmt: skip
    try:
        shared(deployment, program)
        check_service(deployment, read_program(program))
        found = subprocess.run(["pgrep", "-P", str(processes[1].pid)], capture_output=True, text=True).stdout.split()
        os.kill(int(found[0]), signal.SIGKILL)
        # the killed one's script ends with its code; the others start their parties again and wait for it
        assert processes[1].wait(20) == 128 + signal.SIGKILL
        processes[1] = started(
            [*script, "1", str(tmp_path / "groups"), str(tmp_path)], tmp_path / "1.log", PATH=path,
            SLURM_ARRAY_TASK_ID="5",
        )  # fmt: skip
        shared(deployment, program)
        check_service(deployment, read_program(program))
        assert "party 0 of group 5 starts again" in (tmp_path / "0.log").read_text()
    finally:
        ended(processes)
    assert [each.returncode for each in processes] == [143] * 3


@pytest.mark.parametrize(
    "command", [("hadolint", "--failure-threshold", "info", "deploy/Dockerfile"), ("shellcheck", "deploy/party.sbatch")]
)
def test_recipe_and_script_are_clean(command: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_key_of_root_s_may_be_read_by_the_party_s_group(certificates: Path) -> None:
    folder = Path("/tmp") / f"secfwt-key-{os.getpid()}"  # a folder that another user reaches
    shutil.copytree(certificates, folder)
    nobody = {"user": 65532, "group": 65532, "extra_groups": [65533]}
    try:
        folder.chmod(0o755)
        program = write_program(folder)
        command = vm_command(Deployment.local(folder).model_copy(update={"connect_timeout": 1}), 0, program)
        for path in folder.iterdir():
            os.chown(path, 0, 65533)
            path.chmod(0o440)
        met = subprocess.run(command, capture_output=True, text=True, timeout=30, **nobody)  # type: ignore[call-overload]
        assert "others may read it" not in met.stderr
        assert "party" in met.stderr  # it waited for the others
        (folder / "party0.key").chmod(0o444)
        refused = subprocess.run(command, capture_output=True, text=True, timeout=30, **nobody)  # type: ignore[call-overload]
        assert "has mode 0444: others may read it" in refused.stderr
    finally:
        shutil.rmtree(folder)
