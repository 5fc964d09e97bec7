"""The folder of one run: bytes, JSON and lines under names, for their owner alone, written by one process at a time.

What is replaced is there whole after a crash, the new file or the old one; what was synced is there after the machine
stops. What the files mean is for the run to say: `tuning/run_folder.py`, `conversion/run_folder.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import RunFolderError

Json = dict[str, Any]


class RunFolder:
    """Files of a run; a lock on the folder until `close` keeps other processes from writing there.

    A new folder has mode 0700, its files 0600. What cannot be written raises OSError; a folder that is locked,
    RunFolderError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise RunFolderError(f"{path}: another process is writing to this run folder") from None

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def replace(self, name: str, content: bytes) -> None:
        """Put a file in the place of an earlier one, in one step, and sync it."""
        temporary = self.path / f".{name}.tmp"
        with os.fdopen(_private(temporary, os.O_TRUNC), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        os.fsync(self._lock)

    def write_json(self, name: str, content: Json, indent: int = 2) -> None:
        """`replace` by JSON."""
        self.replace(name, (json.dumps(content, indent=indent) + "\n").encode())

    def append(self, name: str, line: Json, *, sync: bool = True) -> None:
        """Add one line of JSON; without `sync` it may be lost with the machine, until `sync_lines`."""
        with os.fdopen(_private(self.path / name, os.O_APPEND), "ab") as file:
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
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def keep_lines(self, name: str, wanted: Callable[[Json], bool]) -> None:
        """Drop all other lines, and a torn one."""
        if (self.path / name).exists():
            kept = [line for line in self.lines(name) if wanted(line)]
            self.replace(name, "".join(json.dumps(line) + "\n" for line in kept).encode())


def _private(path: Path, mode: int) -> int:
    """A file to write that is its owner's alone, if it is new."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | mode, 0o600)
