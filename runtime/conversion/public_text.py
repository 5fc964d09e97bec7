"""Public, unlabelled text that a conversion learns from: text files, tables, JSON lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ...codegen.commandline.texts import lone_surrogate, parse_json
from ..errors import SecfwtError

TEXT_COLUMNS = ("text", "sentence", "sentence1", "sentence2")


class TextError(SecfwtError):
    """A text file that cannot be used; the message names it and what would be accepted."""


def read_texts(argument: str) -> list[str]:
    """Texts of `FILE`, of its first N records for `FILE:N`, of its records M to N, both included, for `FILE:M-N`.

    Accepted: .txt (one text a line), .jsonl, .csv and .tsv with columns text, sentence, sentence1 or sentence2.
    Raises `TextError`.
    """
    part = re.fullmatch(r"(.+?):(?:(\d+)-)?(\d+)", argument)
    path = Path(part[1] if part else argument)
    first, last = (int(part[2] or 1), int(part[3])) if part else (1, None)
    if not path.is_file():
        raise TextError(f"--text {argument}: no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"--text {path}: byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise TextError(f"--text {path} cannot be read: {error.strerror}") from None
    lines = text.split("\n")  # other ends of lines that Python knows are text: JSON allows them in strings
    if path.suffix == ".txt":
        records: Iterable[list[str]] = ([line] for line in lines)
    elif path.suffix == ".jsonl":
        numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        records = _columns(path, ((number, _record(path, number, line)) for number, line in numbered))
    elif path.suffix in (".csv", ".tsv"):
        tabs = path.suffix == ".tsv"
        quoting: Literal[0, 3] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
        csv.field_size_limit(1 << 30)
        reader = csv.DictReader(StringIO(text, newline=""), delimiter="\t" if tabs else ",", quoting=quoting)
        records = _columns(path, ((reader.line_num, record) for record in reader))
    else:
        raise TextError(f"--text {path}: unknown extension {path.suffix!r}; accepted: .txt, .jsonl, .csv, .tsv")
    found = (texts for record in records if (texts := [text.strip() for text in record if text.strip()]))
    chosen = [text for texts in islice(found, max(0, first - 1), last) for text in texts]
    if not chosen:
        raise TextError(f"--text {argument}: no records there; accepted: FILE, FILE:N, FILE:M-N with M from 1")
    return chosen


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except json.JSONDecodeError as error:
        raise TextError(f"--text {path}: line {number}: not JSON: {error.msg}") from None
    except ValueError as error:
        raise TextError(f"--text {path}: line {number}: {error}") from None
    if not isinstance(record, dict):
        raise TextError(f"--text {path}: line {number}: expected a JSON object")
    return record


def _columns(path: Path, records: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[list[str]]:
    """The texts of each record: of the columns that the first one has."""
    columns: list[str] = []
    for number, record in records:
        columns = columns or [name for name in TEXT_COLUMNS if name in record]
        if not columns:
            found = ", ".join(repr(name)[:40] for name in list(record)[:12])
            raise TextError(f"--text {path}: none of the columns {', '.join(TEXT_COLUMNS)}: found {found}")
        if missing := [name for name in columns if not isinstance(record.get(name), str)]:
            raise TextError(f"--text {path}: line {number}: no text in column {missing[0]!r}")
        for name in columns:
            if (at := lone_surrogate(record[name])) is not None:
                raise TextError(
                    f"--text {path}: line {number}: {name!r} has half a character at position {at + 1}: "
                    "write both halves, or neither"
                )
        yield [record[name] for name in columns]
    if not columns:
        raise TextError(f"--text {path}: no records")
