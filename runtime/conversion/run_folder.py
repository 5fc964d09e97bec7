"""The folder of one conversion: what it takes to continue it after it was killed, and its reports.

| file | what | written |
|---|---|---|
| `options.json` | options, fingerprint of model and texts, chosen feature counts | at the start |
| `log.jsonl` | one line a step: stage, loss and its parts, seconds | every step |
| `state.pt` | parameters, optimiser, step | replaced atomically, about once a minute |
| `fidelity.json`, `fidelity.md`, `fidelity.png`, `loss.png` | the reports | at the end |
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..adaptation.options import ConversionError, ConvertOptions
from ..adaptation.training import STAGES, State, load_state

Json = dict[str, Any]


class ConversionRun:
    """A conversion's files."""

    def __init__(self, path: Path, content: Json) -> None:
        self.path, self._content = path, content
        self.state = path / "state.pt"

    @staticmethod
    def create(path: Path | None, options: ConvertOptions) -> ConversionRun:
        """A new folder, by default `runs/convert-<time>`. Raises `ConversionError` where there is a conversion."""
        path = path or Path("runs") / time.strftime("convert-%Y%m%d-%H%M%S")
        if (path / "options.json").exists():
            raise ConversionError(f"--run {path} holds a conversion: give another folder, or --resume {path}")
        path.mkdir(parents=True, exist_ok=True)
        run = ConversionRun(path, {"options": asdict(options)})
        run._write_options()
        return run

    @staticmethod
    def open(path: Path) -> tuple[ConversionRun, ConvertOptions]:
        """An earlier conversion and its options. Raises `ConversionError`."""
        try:
            content = json.loads((path / "options.json").read_text("utf-8"))
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content["options"].items()}
            return ConversionRun(path, content), ConvertOptions(**fields)
        except FileNotFoundError:
            raise ConversionError(f"--resume {path}: no conversion there: it has no options.json") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConversionError(f"--resume {path}: options.json cannot be read: {error}") from None

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

    def load_state(self, device: torch.device) -> State | None:
        """Where the training stands, None at its beginning; log lines of later steps are dropped."""
        try:
            state = load_state(self.state, device) if self.state.exists() else None
        except Exception as error:  # torch raises many kinds
            raise ConversionError(f"--resume {self.path}: state.pt cannot be read: {error}") from None
        at = (state.stage, state.step) if state else (0, 0)
        kept = [line for line in self.history() if (STAGES.index(line["stage"]), line["step"]) <= at]
        if (self.path / "log.jsonl").exists():
            self.write("log.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
        return state

    def log(self, line: Json) -> None:
        """Append a step."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def history(self) -> list[Json]:
        """All steps so far."""
        file = self.path / "log.jsonl"
        lines = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def write(self, name: str, text: str) -> None:
        """Replace a file atomically."""
        fresh = self.path / f".{name}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.path / name)

    def _write_options(self) -> None:
        self.write("options.json", json.dumps(self._content, indent=1) + "\n")
