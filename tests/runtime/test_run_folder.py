"""What all runs keep on disk: whole files, whole lines, one writer."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
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


def test_a_file_that_cannot_be_written_whole_is_as_it_was(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("full")

    folder.replace("file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        folder.replace("file", b"new")
    assert (folder.path / "file").read_bytes() == b"old"


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
