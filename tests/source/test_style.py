"""Linters and formatters over the whole tree; their settings are in pyproject.toml and .clang-format."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.places import ROOT

CPP = sorted(path for ending in ("*.h", "*.cpp") for path in (ROOT / "vm").rglob(ending))


def check(*command: str | Path, **environment: str) -> None:
    """Run a tool of this environment; what it prints is the failure's message."""
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1", **environment}
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def tool(name: str) -> Path:
    return Path(sys.executable).parent / name


def test_ruff() -> None:
    check(tool("ruff"), "check", "--quiet", ".")


def test_ruff_format() -> None:
    check(tool("ruff"), "format", "--check", "--quiet", "--diff", ".")


def test_clang_format() -> None:
    check(tool("clang-format"), "--dry-run", "--Werror", *CPP)


@pytest.mark.slow
def test_mypy() -> None:
    # The names of an installed package, whatever is installed; in build/, so that the next run is quick.
    package = ROOT / "build" / "mypy" / "secfwt"
    package.mkdir(parents=True, exist_ok=True)
    for name in ("codegen", "runtime", "mpc_programs"):
        if not (package / name).exists():
            (package / name).symlink_to(ROOT / name)
    cache = ("--cache-dir", package.parent / "cache")
    packages = ("-p", "secfwt.codegen", "-p", "secfwt.runtime")
    check(
        tool("mypy"), "--strict", "--namespace-packages", "--explicit-package-bases", *cache, *packages,
        MYPYPATH=str(package.parent),
    )  # fmt: skip
