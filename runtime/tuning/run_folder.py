"""The folder of one tuning run: everything needed to read its result or to continue it after any process died.

| file | what | written |
|---|---|---|
| `options.json` | options and fingerprints (data, program, weights) | once |
| `history.jsonl` | one line a generation | appended and synced every generation |
| `state` | search state, best prompt so far, cost so far | replaced atomically every generation |
| `result.json`, `prompt.npz`, `loss.png` | what the run reached | at the end |
| `parties/` | logs of parties that the run started | all the time |

All of it is the data owner's: a new folder and its files are for their owner alone. `state` is a pickle, which runs
code when it is read: one that somebody else owns or may write is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine import Cost, Floats
from ..errors import RunFolderError
from .search import Search

Json = dict[str, Any]


@dataclass
class State:
    """All that changes from generation to generation."""

    search: Search
    best_z: Floats
    start_loss: float
    start_dev: float
    best_dev: float
    best_train: float
    generation: int = 0
    evaluations: int = 0
    rejected: int = 0
    cost: Cost = field(default_factory=Cost)


class RunFolder:
    """One run's files; holds a lock on the folder until `close` so that no second process writes there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._writing("the run folder"):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise RunFolderError(f"{path}: another process is writing to this run folder") from None

    @staticmethod
    def create(path: Path | None, options: Json, fingerprints: dict[str, str]) -> RunFolder:
        """A new folder (default `runs/<timestamp>`) with its `options.json`; refuses one that holds a run."""
        if path is None:
            path = Path("runs") / time.strftime("%Y%m%d-%H%M%S")
        if (path / "options.json").exists():
            raise RunFolderError(f"{path} already holds a run: choose another --run, or continue with --resume {path}")
        folder = RunFolder(path)
        folder.write_json("options.json", {"options": options, "fingerprints": fingerprints})
        return folder

    @staticmethod
    def read_options(path: Path) -> tuple[Json, dict[str, str]]:
        """Options and fingerprints of an earlier run."""
        try:
            stored = json.loads((path / "options.json").read_text("utf-8"))
            return stored["options"], stored["fingerprints"]
        except FileNotFoundError:
            raise RunFolderError(f"{path} holds no run to resume: it has no options.json") from None
        except (OSError, ValueError, KeyError) as error:
            raise RunFolderError(f"{path / 'options.json'} cannot be read: {error}") from None

    @staticmethod
    def resume(path: Path, fingerprints: dict[str, str]) -> RunFolder:
        """Open an earlier run; refuses when data, program or weights are not those it began with."""
        _, stored = RunFolder.read_options(path)
        changed = [name for name in sorted(stored | fingerprints) if stored.get(name) != fingerprints.get(name)]
        if changed:
            raise RunFolderError(f"{path} cannot be resumed: changed since it began: {', '.join(changed)}")
        return RunFolder(path)

    def load_state(self) -> State | None:
        """The last complete generation's state, or None; drops history lines that were written after it."""
        file = self.path / "state"
        if not file.exists():
            self._truncate_history(0)
            return None
        info = file.stat()
        if info.st_uid != os.getuid() or info.st_mode & 0o022:
            raise RunFolderError(
                f"{file} can have been written by somebody else, and reading it runs code: "
                "it must belong to you, and nobody else may write it (mode 0600)"
            )
        try:
            state = pickle.loads(file.read_bytes())
        except Exception as error:  # unpickling can raise anything
            raise RunFolderError(f"{file} cannot be read: {error}") from None
        if not isinstance(state, State):
            raise RunFolderError(f"{file} is not the state of a run")
        self._truncate_history(state.generation)
        return state

    def save_generation(self, line: Json, state: State) -> None:
        """Append one history line, then replace the state: a crash between the two is repaired by `load_state`."""
        with self._writing(f"generation {state.generation}"):
            with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._replace("state", pickle.dumps(state))

    def save_start(self, state: State) -> None:
        """The state before the first generation."""
        with self._writing("the first state"):
            self._replace("state", pickle.dumps(state))

    def history(self) -> list[Json]:
        """All complete lines so far."""
        file = self.path / "history.jsonl"
        if not file.exists():
            return []
        lines = []
        for line in file.read_text("utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break  # a line that was being written when the machine stopped
        return lines

    def write_json(self, name: str, content: Json) -> None:
        """Replace a JSON file atomically."""
        with self._writing(name):
            self._replace(name, (json.dumps(content, indent=2) + "\n").encode())

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """The path of a file to write, with the folder's error message around it."""
        with self._writing(name):
            yield self.path / name

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def _truncate_history(self, generations: int) -> None:
        kept = [line for line in self.history() if line["generation"] <= generations]
        if (self.path / "history.jsonl").exists():
            with self._writing("history.jsonl"):
                self._replace("history.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())

    def _replace(self, name: str, content: bytes) -> None:
        temporary = self.path / f".{name}.tmp"
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        os.fsync(self._lock)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunFolderError(
                f"cannot write {what} in {self.path}: {error.strerror}; what was written before is complete"
            ) from error
