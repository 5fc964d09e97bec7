"""The data owner's examples: reading labelled text files, and drawing train, dev and test sets from them.

Every problem of a file is collected and reported at once; nothing is guessed or skipped.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import SecfwtError

FORMATS = (".jsonl", ".csv", ".tsv")
SHOWN_PROBLEMS = 10

Row = tuple[int, dict[str, object]]
"""Line number (from 1) and the fields of one record."""


class DataError(SecfwtError):
    """A file that cannot be used: its path and all its problems."""

    def __init__(self, path: Path | str, problems: Sequence[str]) -> None:
        self.path, self.problems = str(path), list(problems)
        shown = [f"  {p}" for p in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            shown.append(f"  ... and {len(self.problems) - SHOWN_PROBLEMS} more")
        count = f"{len(self.problems)} problem" + ("s" if len(self.problems) > 1 else "")
        super().__init__("\n".join([f"{path}: {count}", *shown]))


@dataclass(frozen=True)
class Example:
    """One labelled text, or pair of texts."""

    text: str | tuple[str, str]
    label: str


@dataclass(frozen=True)
class Splits:
    """The three sets of a tuning run; `test` may be empty."""

    train: list[Example]
    dev: list[Example]
    test: list[Example]

    @property
    def labels(self) -> list[str]:
        """The training set's labels in alphabetical order: the order of the logits."""
        return sorted({e.label for e in self.train})


def read_examples(
    path: Path, text_column: str = "text", label_column: str = "label", known_labels: Sequence[str] | None = None
) -> list[Example]:
    """Read a UTF-8 `.jsonl`, `.csv` (RFC 4180) or `.tsv` (IANA: tabs separate, no quoting) file of labelled texts.

    `text_column` may be two names with a comma between them: pairs of texts.
    With `known_labels` (a dev or test file) every label must be one of them; without (a training file) there must be
    two classes or more. Raises DataError with all problems of the file.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(path, [f"unknown extension {path.suffix!r}: expected one of {', '.join(FORMATS)}"])
    text_columns = [name.strip() for name in text_column.split(",")]
    if not 1 <= len(text_columns) <= 2 or not all(text_columns):
        raise DataError(path, [f"--text-column is {text_column!r}: give one column, or two with a comma between them"])
    problems: list[str] = []
    rows = list(_rows(path, _decode(path), [*text_columns, label_column], problems))
    examples = []
    for line, row in rows:
        texts = [_text(row[name], f"line {line}: {name!r}", problems) for name in text_columns]
        label = _label(row[label_column], f"line {line}: {label_column!r}", problems)
        if label is not None and known_labels is not None and label not in known_labels:
            known = _names(known_labels)
            problems.append(f"line {line}: unknown label {label!r}: the training set has {known}")
        if label is not None and all(texts):
            examples.append(Example(texts[0] if len(texts) == 1 else (texts[0], texts[1]), label))
    if not rows and not problems:
        problems.append("no examples in the file")
    classes = sorted({e.label for e in examples})
    if not problems and known_labels is None and len(classes) < 2:
        problems.append(f"only one class, {classes[0]!r}: at least two are needed")
    if problems:
        raise DataError(path, problems)
    return examples


def _text(value: object, where: str, problems: list[str]) -> str:
    """The text, or "" after reporting what is wrong with it."""
    if not isinstance(value, str):
        problems.append(f"{where} is {json.dumps(value)[:40]}, expected a string")
        return ""
    if not value.strip():
        problems.append(f"{where} is empty")
    return value.strip()


def _label(value: object, where: str, problems: list[str]) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    problems.append(f"{where} is {json.dumps(value)[:40]}, expected a class name or number")
    return None


def draw_splits(
    train: list[Example],
    dev: list[Example] | None,
    test: list[Example] | None,
    *,
    k_shot: int,
    test_limit: int = 0,
    seed: int,
) -> Splits:
    """Draw `k_shot` examples per class for training (0: all), and what no file was given for.

    A dev file is used whole; without one, dev is as many further examples of the training file (`k_shot` 0: a fifth of
    it). Without a test file, test is what then remains. `test_limit` > 0 keeps a stratified part of test. The same seed
    gives the same sets.
    """
    rng = np.random.default_rng(seed)
    if dev is None:
        need = 2 * k_shot
        pool = _shuffled_by_class(train, rng)
        problems = _short(pool, need or 2, "train and dev" if k_shot else "a train and a dev part")
        if problems:
            raise DataError("training file", problems)
        cuts = {label: k_shot or max(1, len(items) - max(1, len(items) // 5)) for label, items in pool.items()}
        stops = {label: (2 * k_shot or len(items)) for label, items in pool.items()}
        train = [e for label, items in pool.items() for e in items[: cuts[label]]]
        dev = [e for label, items in pool.items() for e in items[cuts[label] : stops[label]]]
        if test is None:
            test = [e for label, items in pool.items() for e in items[stops[label] :]]
    else:
        rest: list[Example] = []
        if k_shot:
            train, rest = _take(train, k_shot, rng)
        test = rest if test is None else test
    if test_limit and len(test) > test_limit:
        test = _stratified(test, test_limit, rng)
    return Splits(train, dev, test)


def _take(examples: list[Example], k: int, rng: np.random.Generator) -> tuple[list[Example], list[Example]]:
    pool = _shuffled_by_class(examples, rng)
    problems = _short(pool, k, "train")
    if problems:
        raise DataError("training file", problems)
    return [e for v in pool.values() for e in v[:k]], [e for v in pool.values() for e in v[k:]]


def _short(pool: dict[str, list[Example]], need: int, purpose: str) -> list[str]:
    return [
        f"class {label!r} has {len(items)} examples, {need} are needed for {purpose}: lower --k-shot or add examples"
        for label, items in pool.items()
        if len(items) < need
    ]


def _shuffled_by_class(examples: list[Example], rng: np.random.Generator) -> dict[str, list[Example]]:
    pool: dict[str, list[Example]] = {label: [] for label in sorted({e.label for e in examples})}
    for i in rng.permutation(len(examples)):
        pool[examples[i].label].append(examples[i])
    return pool


def _stratified(examples: list[Example], n: int, rng: np.random.Generator) -> list[Example]:
    """n examples, class by class in proportion: every class is spread evenly over a common ordering."""
    pool = _shuffled_by_class(examples, rng)
    ranked = [((i + 0.5) / len(items), label, e) for label, items in pool.items() for i, e in enumerate(items)]
    return [e for _, _, e in sorted(ranked, key=lambda r: r[:2])[:n]]


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


def _rows(path: Path, text: str, columns: Sequence[str], problems: list[str]) -> Iterator[Row]:
    if path.suffix.lower() == ".jsonl":
        return _json_rows(text, columns, problems)
    return _table_rows(text, columns, problems, tabs=path.suffix.lower() == ".tsv")


def _json_rows(text: str, columns: Sequence[str], problems: list[str]) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"line {number}: not JSON: {error.msg} at column {error.colno}")
            continue
        if not isinstance(row, dict):
            problems.append(f"line {number}: expected a JSON object, found {type(row).__name__}")
        elif missing := [c for c in columns if c not in row]:
            problems.append(f"line {number}: no column {_names(missing)}: found {_names(row)}")
        else:
            yield number, row


def _table_rows(text: str, columns: Sequence[str], problems: list[str], tabs: bool) -> Iterator[Row]:
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
            if missing := [c for c in columns if c not in header]:
                problems.append(f"line 1: no column {_names(missing)}: found {_names(header)}")
                return
            if len(set(header)) < len(header):
                problems.append(f"line 1: a column name occurs twice in {_names(header)}")
                return
        elif len(fields) != len(header):
            problems.append(f"line {line}: {len(fields)} fields, the header has {len(header)}")
        else:
            yield line, dict(zip(header, fields, strict=True))


def _names(names: Sequence[str] | dict[str, object]) -> str:
    return ", ".join(repr(n) for n in names)
