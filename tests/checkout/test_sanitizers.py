"""The self-test of the C++, plain and under the sanitizers; builds stay in build/ so that later runs are quick."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.places import ROOT

OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


def command(*words: str | Path, seconds: float) -> str:
    done = subprocess.run(
        words,
        env={**os.environ, **OPTIONS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, words))}\n{done.stdout}", pytrace=False)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["", "address,undefined", "thread"])
def test_self_test(sanitizers: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ROOT / "build" / f"test-{sanitizers.replace(',', '-') or 'plain'}"
    tools = {name: shutil.which(name) for name in ("cmake", "ninja")}
    for name, path in tools.items():
        assert path, f"{name} is not on the path; ./build.sh test installs it"
    with capsys.disabled():
        print(f"\n{folder.name}: building … ", end="", flush=True)
        configure = (f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", f"-DSECFWT_SANITIZE={sanitizers}")
        command("cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, *configure, seconds=120)
        command("cmake", "--build", folder, "--target", "secfwt-vm-test", seconds=600)
        print("running … ", end="", flush=True)
        result = command(folder / "secfwt-vm-test", seconds=300)
        print(result.strip(), end=" ")
    assert ", 0 failed" in result
