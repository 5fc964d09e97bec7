"""The package as others get it: what is in the wheel and the sdist, and that an installed copy works by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers.parties import PROGRAM
from helpers.places import ROOT

pytestmark = pytest.mark.slow
NEEDED = {
    "secfwt/__init__.py",
    "secfwt/codegen/cli.py",
    "secfwt/runtime/tune.py",
    "secfwt/templates/program.mpc.j2",
    "secfwt/mpc_programs/lib/attention.py",
    "secfwt/examples/sentences/sentences.txt",
    "secfwt/examples/topics/train.jsonl",
    "secfwt/examples/minilm-rfa/adapter.safetensors",
    "secfwt/bin/secfwt-vm",
    "secfwt/bin/libsecfwt_simulator.so",
}
NAMES = (
    "gen", "tune", "predict", "evaluate", "export", "generate", "party", "certs", "weights", "convert", "compare",
    "doctor", "adapter", "join",
)  # fmt: skip
COMMANDS = {f"secfwt-{name}" for name in NAMES}
CONFIG = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50, "max_position_embeddings": 40,
}  # fmt: skip
SIMULATION = """
import sys
import numpy as np
from secfwt.codegen.native.binaries import describe
from secfwt.codegen.native.simulator import Simulator
print(describe())
one = 1 << 16
simulator = Simulator(open(sys.argv[1]).read())
simulator.weights(np.full(12, one))
simulator.examples(2, np.full(2 * 8, one))
print(round(simulator.step(1, np.full(6, one))[0] / one))  # 2 examples, 2x3 sums of 4 ones
"""


def python(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k != "SECFWT_BIN"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # In the build folder that ./build.sh has filled.
    python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT, cwd=ROOT)
    (built,) = folder.glob("secfwt-*.whl")
    return built


class Installed:
    """The wheel in a folder, with this environment's packages but without what it has of the checkout."""

    def __init__(self, wheel: Path, root: Path) -> None:
        self.package = root / "installed"
        others = root / "others"
        others.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if "secfwt" not in path.name:
                (others / path.name).symlink_to(path)
        python("-m", "pip", "install", "--quiet", "--no-deps", "--target", self.package, wheel, cwd=root)
        self.path = os.pathsep.join(map(str, (self.package, others)))

    def run(self, *arguments: str | Path, cwd: Path) -> str:
        """A Python of this copy; without the site module, which an editable installation hooks itself into."""
        return python("-S", *arguments, cwd=cwd, PYTHONPATH=self.path)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("copy"))


def test_wheel_is_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (points,) = (name for name in names if name.endswith("entry_points.txt"))
        commands = {line.split(" ")[0] for line in archive.read(points).decode().splitlines() if " = " in line}
    assert names >= NEEDED
    assert commands == COMMANDS
    assert not [name for name in names if not name.startswith("secfwt") or "__pycache__" in name or "/tests/" in name]


def test_sdist_is_whole(tmp_path: Path) -> None:
    code = f"from scikit_build_core.build import build_sdist; build_sdist({str(tmp_path)!r})"
    python("-c", code, cwd=ROOT)
    (sdist,) = tmp_path.glob("secfwt-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = {"CMakeLists.txt", "pyproject.toml", "README.md", "vm/main.cpp", "templates/program.mpc.j2", "build.sh"}
    assert names >= needed | {"tests/checkout/test_install.py", "constraints.txt"}
    assert not [name for name in names if name.startswith(("build/", ".venv", "certificates/"))]


def test_installed_generator_finds_its_templates(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    options = ("--output", "bundle", "--sequence-length", "8", "--rfa-features", "4")
    assert "wrote bundle" in installed.run("-m", "secfwt.codegen.cli", "config.json", *options, cwd=tmp_path)
    assert (tmp_path / "bundle/public/program.mpc").read_text().startswith("# Generated by secfwt-gen")
    place = installed.run("-c", "import secfwt.codegen as c; print(c.__file__)", cwd=tmp_path)
    assert place.startswith(str(installed.package))


def test_installed_simulator_runs_a_program(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "program.txt").write_text(PROGRAM)
    described, value = installed.run("-c", SIMULATION, "program.txt", cwd=tmp_path).splitlines()
    assert described.startswith("secfwt ")
    assert described.endswith(f", in {installed.package / 'secfwt' / 'bin'}")
    assert int(value) == 2 * 2 * 3 * 4


@pytest.mark.parametrize(
    "module",
    [
        "codegen.cli",
        "runtime.tune",
        "runtime.compare",
        *(f"runtime.commands.{name}" for name in ("party", "certs", "weights", "convert", "doctor")),
    ],
)
def test_installed_commands_say_how_they_are_used(module: str, installed: Installed, tmp_path: Path) -> None:
    assert "usage" in installed.run("-m", f"secfwt.{module}", "--help", cwd=tmp_path).lower()
