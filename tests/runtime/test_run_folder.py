"""What all runs keep on disk: whole files, whole lines, one writer."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from secfwt.runtime import run_folder
from secfwt.runtime.errors import RunFolderError
from secfwt.runtime.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "a" / "run")


def test_files_are_their_owners_alone(folder: RunFolder) -> None:
    folder.replace("bytes", b"\0")
    folder.write_json("content.json", {"a": 1})
    folder.append("lines", {"b": 2}, sync=False)
    folder.sync_lines("lines")
    assert sorted(path.name for path in folder.path.iterdir()) == ["bytes", "content.json", "lines"]
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()} == {0o600}
    assert json.loads((folder.path / "content.json").read_text()) == {"a": 1}


def test_a_folder_that_was_there_becomes_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    before = os.umask(0)
    try:
        path.mkdir(mode=0o755)
        (path / "lines").touch(mode=0o644)
        folder = RunFolder(path)
        folder.append("lines", {})
        folder.replace("file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()} == {0o600}
    (path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"link"):
        folder.append("link", {})
    assert not (tmp_path / "elsewhere").exists()


def test_folders_made_in_the_same_second_are_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder.time, "strftime", lambda form: form.replace("%Y%m%d-%H%M%S", "now"))
    folders = [RunFolder(None) for _ in range(3)]
    assert [str(folder.path) for folder in folders] == ["runs/now", "runs/now-2", "runs/now-3"]
    assert RunFolder(None, "convert-").path.name == "convert-now"


def test_what_is_discarded_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (None, tmp_path / "a" / "b"):
        folder = RunFolder(path)
        folder.replace("file", b"")
        folder.append("lines", {})
        folder.discard()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").touch()
    folder = RunFolder(tmp_path)
    folder.replace("file", b"")
    folder.discard()
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(run_folder.fcntl, "flock", refuse)
    assert RunFolder(tmp_path).unlocked == os.strerror(number)


def test_a_file_that_cannot_be_written_whole_is_as_it_was(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("full")

    folder.replace("file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        folder.replace("file", b"new")
    assert (folder.path / "file").read_bytes() == b"old"
    assert len(list(folder.path.iterdir())) == 1


def test_lines_end_before_a_torn_one(folder: RunFolder) -> None:
    assert folder.lines("log") == []
    folder.keep_lines("log", bool)
    assert not (folder.path / "log").exists()
    for i in range(4):
        folder.append("log", {"i": i})
    with (folder.path / "log").open("a") as file:
        file.write('{"i": 4, "to')
    assert folder.lines("log") == [{"i": i} for i in range(4)]
    folder.keep_lines("log", lambda line: line["i"] < 3)
    folder.append("log", {"i": 9})
    assert [line["i"] for line in folder.lines("log")] == [0, 1, 2, 9]


def test_one_writer_at_a_time(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match=r"a/run: another process is writing to this run folder"):
        RunFolder(folder.path)
    folder.close()
    RunFolder(folder.path).close()
