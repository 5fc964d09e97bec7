"""Builds of the C++ with sanitizers, in build/ so that later runs are quick, and programs that must end well."""

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


def command(*words: object, seconds: float) -> str:
    """What it prints; where it ends with another code than 0, that is the failure's message."""
    line = [str(word) for word in words]
    done = subprocess.run(
        line,
        env={**os.environ, **OPTIONS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(line)}\n{done.stdout[-20_000:]}", pytrace=False)
    return done.stdout


def built(target: str, sanitizers: str) -> Path:
    """That program under those sanitizers (of CMake's SECFWT_SANITIZE)."""
    folder = ROOT / "build" / f"test-{sanitizers.replace(',', '-') or 'plain'}"
    tools = {name: shutil.which(name) for name in ("cmake", "ninja")}
    for name, path in tools.items():
        assert path, f"{name} is not on the path; ./build.sh test installs it"
    print(f"\n{folder.name}: building … ", end="", flush=True)
    configure = (f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", f"-DSECFWT_SANITIZE={sanitizers}")
    command("cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, *configure, seconds=120)
    command("cmake", "--build", folder, "--target", target, seconds=600)
    return folder / target
