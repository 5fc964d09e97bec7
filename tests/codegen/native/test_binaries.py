"""Programs that were built: found, or refused with the reason before anybody waits for them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from secfwt.codegen.native import binaries


@pytest.fixture
def built() -> Path:
    return binaries.find(binaries.VM).parent


@pytest.fixture
def folder(tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECFWT_BIN", str(tmp_path))
    (tmp_path / binaries.SIMULATOR).symlink_to(built / binaries.SIMULATOR)
    return tmp_path


def refusal() -> str:
    with pytest.raises(binaries.BinaryMissing) as found:
        binaries.describe()
    return str(found.value)


def test_a_program_that_is_there_and_runs(folder: Path, built: Path) -> None:
    (folder / binaries.VM).symlink_to(built / binaries.VM)
    assert binaries.find(binaries.VM) == folder / binaries.VM
    assert binaries.describe().endswith(str(folder))


def test_a_program_that_is_not_there(folder: Path) -> None:
    assert f"secfwt-vm is in none of: {folder}" in refusal()


def test_a_program_that_may_not_be_executed(folder: Path) -> None:
    (folder / binaries.VM).write_bytes(b"")
    (folder / binaries.VM).chmod(0o644)
    assert f"{folder}/secfwt-vm may not be executed: give it the x bit" in refusal()
    with pytest.raises(binaries.BinaryMissing, match="may not be executed"):
        binaries.find(binaries.VM)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF and not much more", os.strerror(errno.ENOEXEC)),
        (b"#!/nowhere/sh\n", os.strerror(errno.ENOENT)),
        (b"#!/bin/sh\necho libssl.so.9 is missing >&2; exit 127\n", "libssl.so.9 is missing"),
    ],
)
def test_a_program_that_does_not_run(folder: Path, content: bytes, reason: str) -> None:
    (folder / binaries.VM).write_bytes(content)
    (folder / binaries.VM).chmod(0o755)
    assert f"{folder}/secfwt-vm does not run: {reason}" in refusal()


def test_a_library_that_cannot_be_loaded(folder: Path, built: Path) -> None:
    (folder / binaries.VM).symlink_to(built / binaries.VM)
    (folder / binaries.SIMULATOR).unlink()
    (folder / binaries.SIMULATOR).write_bytes(b"no library")
    assert f"{folder}/{binaries.SIMULATOR} cannot be loaded: " in refusal()
