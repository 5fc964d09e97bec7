"""The folder of one conversion: what it takes to continue it after it was killed, and its reports.

| file | what | written |
|---|---|---|
| `options.json` | options, fingerprint of model and texts, chosen feature counts | at the start |
| `log.jsonl` | one line a step: stage, loss and its parts, seconds | every step, synced with the state |
| `state.pt` | parameters, optimiser, step | replaced atomically, about once a minute |
| `fidelity.json`, `fidelity.md`, `fidelity.png`, `loss.png` | the reports | at the end |
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...codegen.commandline.texts import parse_json
from ..adaptation.options import ConversionError, ConvertOptions
from ..adaptation.training import STAGES, TrainingState, loads
from ..run_folder import Json, RunFolder

LOG = "log.jsonl"


class ConversionRun(RunFolder):
    """A conversion's files. What cannot be written raises OSError."""

    def __init__(self, path: Path | None, content: Json) -> None:
        super().__init__(path, "convert-")
        self._content = content

    @staticmethod
    def create(path: Path | None, options: ConvertOptions) -> ConversionRun:
        """A new folder, by default `runs/convert-<time>`. Raises `ConversionError` where there is a conversion."""
        if path is not None and (path / "options.json").exists():
            raise ConversionError(f"--run {path} holds a conversion: give another folder, or --resume {path}")
        run = ConversionRun(path, {"options": asdict(options)})
        run._write_options()
        return run

    @staticmethod
    def open(path: Path) -> tuple[ConversionRun, ConvertOptions]:
        """An earlier conversion and its options. Raises `ConversionError`."""
        try:
            content = parse_json((path / "options.json").read_text("utf-8"))
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content["options"].items()}
            options = ConvertOptions(**fields)
        except FileNotFoundError:
            raise ConversionError(f"--resume {path}: no conversion there: it has no options.json") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConversionError(f"--resume {path}: options.json cannot be read: {error}") from None
        return ConversionRun(path, content), options

    def check(self, what: str, fingerprint: str) -> None:
        """Keep a fingerprint at the start; later raise `ConversionError` when it has changed."""
        if self._content.setdefault("fingerprint", fingerprint) != fingerprint:
            raise ConversionError(f"--resume {self.path}: {what} changed since the conversion began")
        self._write_options()

    def features(self) -> tuple[int, ...] | None:
        """Counts that were chosen earlier."""
        counts = self._content.get("features")
        return tuple(counts) if counts else None

    def keep_features(self, counts: tuple[int, ...]) -> None:
        """Remember the choice."""
        self._content["features"] = counts
        self._write_options()

    def load_state(self, device: torch.device) -> TrainingState | None:
        """Where the training stands, None at its beginning; log lines of later steps are dropped."""
        file = self.path / "state.pt"
        try:
            state = loads(file.read_bytes(), device) if file.exists() else None
        except Exception as error:  # torch raises many kinds
            raise ConversionError(f"--resume {self.path}: state.pt cannot be read: {error}") from None
        at = (state.stage, state.step) if state else (0, 0)
        self.keep_lines(LOG, lambda line: (STAGES.index(line["stage"]), line["step"]) <= at)
        return state

    def save_state(self, content: bytes) -> None:
        """Replace the state; the log is then on disk up to it."""
        if (self.path / LOG).exists():
            self.sync_lines(LOG)
        self.replace("state.pt", content)

    def log(self, line: Json) -> None:
        """Append a step."""
        self.append(LOG, line, sync=False)

    def history(self) -> list[Json]:
        """All steps so far."""
        return self.lines(LOG)

    def _write_options(self) -> None:
        self.write_json("options.json", self._content, indent=1)
