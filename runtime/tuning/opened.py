"""Rows of logits that were opened to the data owner, kept in the run's folder: none has to be opened twice.

A row is found again by a hash of all that it depends on: program, weights, the prompt's vector and the text. New
weights of the same program at parties elsewhere cannot be told: remove the file then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from ..data.examples import Text
from ..engine import Floats
from .run_folder import TuningRun

FILE = "opened.jsonl"


class Opened:
    """The rows of one prompt."""

    def __init__(self, run: TuningRun, fingerprints: Mapping[str, str], z: Floats, shots: float = 0.0) -> None:
        """`z` `[d]`: the prompt's vector; `shots`: their weight. Raises RunFolderError where the file
        cannot be read."""
        self._run = run
        model = {name: fingerprints.get(name, "") for name in ("program", "layers", "weights")}
        vector = np.append(z, shots) if shots else z
        self._stem = json.dumps(model) + hashlib.sha256(np.ascontiguousarray(vector, np.float64).tobytes()).hexdigest()
        with run.writing(FILE):
            run.keep_lines(FILE, lambda _: True)  # without a torn last one, which more would be appended to
            self._rows = {line["row"]: line["logits"] for line in run.lines(FILE)}

    def find(self, texts: Sequence[Text]) -> dict[Text, list[float]]:
        """The logits `[L]` of those texts that are known."""
        keys = {text: self._key(text) for text in texts}
        return {text: self._rows[key] for text, key in keys.items() if key in self._rows}

    def keep(self, texts: Sequence[Text], logits: Floats) -> None:
        """Add rows, `[E, L]`; they are synced when this returns."""
        with self._run.writing(FILE):
            for text, row in zip(texts, logits.tolist(), strict=True):
                self._rows[self._key(text)] = row
                self._run.append(FILE, {"row": self._key(text), "logits": row}, sync=False)
            if texts:
                self._run.sync_lines(FILE)

    def _key(self, text: Text) -> str:
        return hashlib.sha256((self._stem + json.dumps(text)).encode()).hexdigest()
