"""Predictions as a file: .csv or .jsonl, in the order of the texts, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..data.examples import Text
from ..engine import Floats
from ..evaluation.metrics import probabilities
from ..run_folder import private_file


def predictions(
    texts: Sequence[Text], logits: Floats, possible: Sequence[bool], classes: Sequence[str], columns: Sequence[str]
) -> Iterator[dict[str, str | float]]:
    """One record per text: its columns, `label`, `probability`, and `p(class)` for each class.

    Where logits `[E, L]` are not `possible`, so that they mean nothing, label and probabilities are empty.
    """
    chances = np.round(probabilities(logits), 6)
    for text, row, right in zip(texts, chances, possible, strict=True):
        record: dict[str, str | float] = dict(zip(columns, [text] if isinstance(text, str) else text, strict=True))
        best = int(row.argmax())
        record["label"], record["probability"] = (classes[best], float(row[best])) if right else ("", "")
        record |= {f"p({name})": float(chance) if right else "" for name, chance in zip(classes, row, strict=True)}
        yield record


def as_text(records: Sequence[dict[str, str | float]], lines_of_json: bool) -> str:
    """CSV (RFC 4180) with a header, or a JSON object per line."""
    if lines_of_json:
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Put a file, which is its owner's alone, in the place of an earlier one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with private_file(temporary) as file:
            file.write(text.encode())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
