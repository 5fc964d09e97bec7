"""The folder of one tuning run: everything needed to read its result or to continue it after any process died.

| file | what | written |
|---|---|---|
| `options.json` | options and fingerprints (data, program, embeddings, layers, other weights) | once |
| `history.jsonl` | one line a generation | appended and synced every generation |
| `state` | search state, best prompt so far, cost so far | replaced atomically every generation |
| `shots.jsonl` | with `--prototype-shots` the labelled examples beside label texts or words | at the end |
| `result.json`, `prompt.npz`, `loss.png` | what the run reached | at the end |
| `report.html` | the same for people, in one file | at the end, and when the run is interrupted |
| `evaluation.json`, `evaluation.png` | the test set under none and under the chosen prompt | at the end |
| `opened.jsonl` | rows of logits that were opened (`opened.py`) | appended by this run and what uses its prompt |
| `asked.jsonl` | with `--noise` the losses of each step that were asked for | appended and synced before each step |
| `parties/` | logs of parties that the run started | all the time |

All of it is the data owner's: the folder and its files are for their owner alone. `state` is a pickle, which can run
code when it is read: one that somebody else owns or may write is refused.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...codegen.commandline.texts import parse_json
from ..data.examples import Example, read_examples
from ..errors import RunFolderError, SecfwtError
from ..run_folder import RUNS, Json, RunFolder
from .state import TuningState, dumps, loads

HISTORY = "history.jsonl"
ASKED = "asked.jsonl"
SHOTS_FILE = "shots.jsonl"
PAIR = ("text", "text_b")
"""Columns of the shots' texts; of single ones the first."""


class TuningRun(RunFolder):
    """One run's files. What cannot be written raises RunFolderError, which says that earlier files are complete."""

    def __init__(self, path: Path | None) -> None:
        self.path = path or RUNS
        with self.writing("the run folder"):
            super().__init__(path)

    @staticmethod
    def create(path: Path | None, options: Json, fingerprints: dict[str, str]) -> TuningRun:
        """A new folder (default `runs/<timestamp>`) with its `options.json`; refuses one that holds a run."""
        if path is not None and (path / "options.json").exists():
            raise RunFolderError(f"{path} already holds a run: choose another --run, or continue with --resume {path}")
        folder = TuningRun(path)
        try:
            folder.write_json("options.json", {"options": options, "fingerprints": fingerprints})
        except RunFolderError:
            folder.discard()
            raise
        return folder

    def undo_if_refused(self, _: object, error: BaseException | None, __: object) -> None:
        """As a context's exit: a new run that was refused before its search began leaves nothing that would stand in
        the way of the next; logs of parties that said something are kept.
        """
        if not isinstance(error, SecfwtError) or error.resumable or (self.path / "state").exists():
            return
        parties = self.path / "parties"
        for path in sorted(parties.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):
                    path.rmdir()
            elif path.suffix != ".log" or not path.stat().st_size:
                path.unlink()
        with suppress(OSError):
            parties.rmdir()
        self.discard()

    @staticmethod
    def read_options(path: Path) -> tuple[Json, dict[str, str]]:
        """Options and fingerprints of an earlier run."""
        try:
            stored = parse_json((path / "options.json").read_text("utf-8"))
            return stored["options"], stored["fingerprints"]
        except FileNotFoundError:
            raise RunFolderError(f"{path} holds no run to resume: it has no options.json") from None
        except (OSError, ValueError, KeyError) as error:
            raise RunFolderError(f"{path / 'options.json'} cannot be read: {error}") from None

    @staticmethod
    def resume(path: Path, fingerprints: dict[str, str]) -> TuningRun:
        """Open an earlier run; refuses when data, program or weights are not those it began with."""
        _, stored = TuningRun.read_options(path)
        changed = [name for name in sorted(stored | fingerprints) if stored.get(name) != fingerprints.get(name)]
        if changed:
            raise RunFolderError(f"{path} cannot be resumed: changed since it began: {', '.join(changed)}")
        return TuningRun(path)

    def load_state(self) -> TuningState | None:
        """The last complete generation's state, or None; drops history lines that were written after it."""
        file = self.path / "state"
        state = self._read_state(file) if file.exists() else None
        last = state.generation if state else 0
        with self.writing(HISTORY):
            self.keep_lines(HISTORY, lambda line: bool(line["generation"] <= last))
            self.keep_lines(ASKED, lambda line: True)  # a torn one was asked for by nobody
        return state

    def _read_state(self, file: Path) -> TuningState:
        info = file.stat()
        if info.st_uid != os.getuid() or info.st_mode & 0o022:
            raise RunFolderError(
                f"{file} can have been written by somebody else, and reading it runs code: "
                "it must belong to you, and nobody else may write it (mode 0600)"
            )
        try:
            return loads(file.read_bytes())
        except OSError as error:
            raise RunFolderError(f"{file} cannot be read: {error}") from None
        except ValueError as error:
            raise RunFolderError(f"{file} {error}") from None

    def save_generation(self, line: Json, state: TuningState) -> None:
        """Append one history line, then replace the state: a crash between the two is repaired by `load_state`."""
        with self.writing(f"generation {state.generation}"):
            self.append(HISTORY, line)
            self.replace("state", dumps(state))

    def save_start(self, state: TuningState) -> None:
        """The state before the first generation."""
        with self.writing("the first state"):
            self.replace("state", dumps(state))

    def note_asked(self, name: str, losses: int) -> None:
        """Before a step: so many losses of a set may have been opened from now on, whatever becomes of it."""
        with self.writing(ASKED):
            self.append(ASKED, {"set": name, "losses": losses})

    def asked(self) -> Counter[str]:
        """Losses by set that were asked for so far."""
        found: Counter[str] = Counter()
        for line in self.lines(ASKED):
            found[line["set"]] += line["losses"]
        return found

    def write_shots(self, examples: Sequence[Example]) -> None:
        """The labelled examples, for whoever uses the prompt."""
        lines = []
        for each in examples:
            texts = (each.text,) if isinstance(each.text, str) else each.text
            lines.append(json.dumps({**dict(zip(PAIR, texts, strict=False)), "label": each.label}))
        with self.writing(SHOTS_FILE):
            self.replace(SHOTS_FILE, "".join(line + "\n" for line in lines).encode())

    def shots(self) -> list[Example]:
        """What `write_shots` wrote. Raises DataError."""
        file = self.path / SHOTS_FILE
        pairs = file.exists() and b'"text_b":' in file.read_bytes().split(b"\n", 1)[0]
        return read_examples(file, ",".join(PAIR) if pairs else PAIR[0])

    def history(self) -> list[Json]:
        """All complete lines so far."""
        return self.lines(HISTORY)

    def write_json(self, name: str, content: Json, indent: int = 2) -> None:
        """Replace a JSON file, with the folder's error message around it."""
        with self.writing(name):
            super().write_json(name, content, indent)

    @contextmanager
    def writing(self, what: str) -> Iterator[Path]:
        """Around what writes a file: its path, and the folder's error message."""
        try:
            yield self.path / what
        except OSError as error:
            raise RunFolderError(
                f"cannot write {what} in {self.path}: {error.strerror}; what was written before is complete"
            ) from error
