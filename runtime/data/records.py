"""Records of labelled files: JSON lines, CSV (RFC 4180), TSV (IANA: tabs separate, no quoting), all UTF-8."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...codegen.commandline.texts import parse_json
from ..errors import SecfwtError

FORMATS = (".jsonl", ".csv", ".tsv")
SHOWN_PROBLEMS = 10
SHOWN_NAMES = 12
SHOWN_LETTERS = 40

Row = tuple[int, dict[str, object]]
"""Line number (from 1) and the fields of one record."""


@dataclass(frozen=True)
class Columns:
    """Those that are read."""

    texts: Sequence[str]
    label: str = ""
    """Empty: there is none."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.texts, self.label) if self.label else tuple(self.texts)

    def missing(self, found: Sequence[str]) -> str:
        """What is said where some are not among those that were found; empty: all are."""
        missing = [name for name in self.wanted if name not in found]
        if not missing:
            return ""
        flags = ["--text-column"] if set(missing) & set(self.texts) else []
        flags += ["--label-column"] if self.label in missing else []
        others = [name for name in found if name not in self.wanted]
        hint = f"; {' and '.join(flags)} may name {names(others, ' or ')}" if others else ""
        return f"no column {names(missing)}: found {names(found) or 'none'}{hint}"


class DataError(SecfwtError):
    """A file that cannot be used: its path and all its problems."""

    def __init__(self, path: Path | str, problems: Sequence[str]) -> None:
        self.path, self.problems = str(path), list(problems)
        lines = [f"  {p}" for p in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"  ... and {len(self.problems) - SHOWN_PROBLEMS} more")
        count = f"{len(self.problems)} problem" + ("s" if len(self.problems) > 1 else "")
        super().__init__("\n".join([f"{path}: {count}", *lines]))


def read_rows(path: Path, columns: Columns, problems: list[str]) -> Iterator[Row]:
    """The records that have these columns; others are added to `problems`. Raises DataError for a file of none."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise DataError(path, [f"unknown extension {path.suffix!r}: expected one of {', '.join(FORMATS)}"])
    text = _decode(path)
    if ending == ".jsonl":
        return _json_rows(text, columns, problems)
    return _table_rows(text, columns, problems, tabs=ending == ".tsv")


def _decode(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(path, ["no such file"]) from None
    except OSError as error:
        raise DataError(path, [f"cannot be read: {error.strerror}"]) from None
    if not raw.strip():
        raise DataError(path, ["the file is empty"])
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(path, ["the file is UTF-16: save it as UTF-8"])
    problems, offset = [], 0
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            at = offset + error.start
            problems.append(f"line {number}: byte 0x{raw[at]:02x} at offset {at} is not UTF-8")
        offset += len(line) + 1
    if problems:
        raise DataError(path, problems)
    return raw.decode("utf-8-sig")


def _json_rows(text: str, columns: Columns, problems: list[str]) -> Iterator[Row]:
    whole = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            problems.append(f"line {number}: not JSON: {error.msg} at column {error.colno}")
            continue
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        if not isinstance(row, dict):
            problems.append(f"line {number}: expected a JSON object, found {type(row).__name__}")
        elif missing := columns.missing(list(row)):
            problems.append(f"line {number}: {missing}")
            if not whole:  # nor has any other line the columns, most likely
                return
        else:
            whole += 1
            yield number, row


def _table_rows(text: str, columns: Columns, problems: list[str], tabs: bool) -> Iterator[Row]:
    csv.field_size_limit(1 << 30)
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(source, strict=True)
    header: list[str] | None = None
    start = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # Beyond a broken quote no line boundary can be trusted.
            problems.append(f"line {start}: broken quotes in the record that starts here: {error}")
            return
        line, start = start, reader.line_num + 1
        if not fields:
            continue
        if header is None:
            header = fields
            if missing := columns.missing(header):
                problems.append(f"line {line}, the header: {missing}{_no_header(header, columns, tabs)}")
                return
            if len(set(header)) < len(header):
                problems.append(f"line {line}: a column name occurs twice in {names(header)}")
                return
        elif len(fields) != len(header):
            problems.append(f"line {line}: {len(fields)} fields, the header has {len(header)}")
        else:
            yield line, dict(zip(header, fields, strict=True))


def _no_header(first: Sequence[str], columns: Columns, tabs: bool) -> str:
    """What else may be wrong with a header that has none of the columns."""
    if set(first) & set(columns.wanted):
        return ""
    ending, wanted, other = (".tsv", "tabs", ",;") if tabs else (".csv", "commas", ";\t")
    if len(first) == 1 and any(letter in first[0] for letter in other):
        return f"; in a {ending} file {wanted} separate the columns"
    return "; the first line must name the columns"


def names(these: Sequence[str], between: str = ", ") -> str:
    """Some names for a message, short."""
    short = [shown(name) for name in these[:SHOWN_NAMES]]
    return between.join(short) + (f" and {len(these) - SHOWN_NAMES} more" if len(these) > SHOWN_NAMES else "")


def shown(value: object) -> str:
    """A value as Python or JSON writes it, short."""
    if isinstance(value, list | dict):
        return "an array" if isinstance(value, list) else "an object"
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"
