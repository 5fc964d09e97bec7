"""The folder of one run: bytes, JSON and lines under names, for their owner alone, written by one process at a time.

What is replaced is there whole after a crash, the new file or the old one; what was synced is there after the machine
stops. What the files mean is for the run to say: `tuning/run_folder.py`, `conversion/run_folder.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from ..codegen.commandline.texts import parse_json
from .errors import RunFolderError

Json = dict[str, Any]
RUNS = Path("runs")
"""Where runs are kept that nobody named a folder for."""


class RunFolder:
    """Files of a run; a lock on the folder until `close` keeps other processes from writing there.

    The folder has mode 0700, its files 0600, whatever they had before and whatever the umask is. What cannot be written
    raises OSError; a folder that is locked, RunFolderError.
    """

    def __init__(self, path: Path | None, prefix: str = "") -> None:
        """`path`: default a new folder of `new_folder`."""
        missing = [each for each in ((path, *path.parents) if path else (RUNS,)) if not each.exists()]
        self.path = path or new_folder(prefix)
        self._made = missing if path else [self.path, *missing]
        self._written: set[str] = set()
        private_folder(self.path)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        self.unlocked = ""
        """Why there is no lock, where the file system has none."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise RunFolderError(f"{self.path}: another process is writing to this run folder") from None
        except OSError as error:
            self.unlocked = error.strerror or str(error)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def discard(self) -> None:
        """Remove what this object has written, and the folders that it made as far as they are empty."""
        for name in self._written:
            (self.path / name).unlink(missing_ok=True)
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    def replace(self, name: str, content: bytes) -> None:
        """Put a file in the place of an earlier one, in one step, and sync it."""
        temporary = self.path / f".{name}.tmp"
        try:
            with private_file(temporary) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._written.add(name)
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(self._lock)

    def write_json(self, name: str, content: Json, indent: int = 2) -> None:
        """`replace` by JSON."""
        self.replace(name, (json.dumps(content, indent=indent) + "\n").encode())

    def append(self, name: str, line: Json, *, sync: bool = True) -> None:
        """Add one line of JSON; without `sync` it may be lost with the machine, until `sync_lines`."""
        self._written.add(name)
        with private_file(self.path / name, os.O_APPEND) as file:
            file.write((json.dumps(line) + "\n").encode())
            file.flush()
            if sync:
                os.fsync(file.fileno())

    def sync_lines(self, name: str) -> None:
        """Sync what was appended so far."""
        with (self.path / name).open("ab") as file:
            os.fsync(file.fileno())

    def lines(self, name: str) -> list[Json]:
        """All whole lines: the last may be torn where the machine stopped."""
        file, found = self.path / name, []
        for line in file.read_bytes().splitlines(keepends=True) if file.exists() else ():
            try:
                found.append(parse_json(line))
            except ValueError:
                break
        return found

    def keep_lines(self, name: str, wanted: Callable[[Json], bool]) -> None:
        """Drop all other lines, and a torn one."""
        if (self.path / name).exists():
            kept = [line for line in self.lines(name) if wanted(line)]
            self.replace(name, "".join(json.dumps(line) + "\n" for line in kept).encode())


def new_folder(prefix: str = "") -> Path:
    """Make `runs/<prefix><time>`, with -2, -3, … behind it where another process was as quick."""
    RUNS.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime(f"{prefix}%Y%m%d-%H%M%S")
    for number in count(1):
        path = RUNS / (stamp if number == 1 else f"{stamp}-{number}")
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            return path
    raise AssertionError


def private_folder(path: Path) -> None:
    """Make a folder that is its owner's alone; one that is there becomes so, if it is ours."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(PermissionError):
        path.chmod(0o700)


def private_file(path: Path, mode: int = os.O_TRUNC) -> BinaryIO:
    """A file to write that is its owner's alone. Raises OSError, also where it is somebody else's, or a link."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | mode, 0o600)
    try:
        os.fchmod(number, 0o600)
    except BaseException:
        os.close(number)
        raise
    return os.fdopen(number, "wb")
