"""The data owner's examples: labelled texts from files.

Every problem of a file is collected and reported at once; nothing is guessed or skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...codegen.commandline.texts import lone_surrogate
from .records import Columns, DataError, names, read_rows, shown

Text = str | tuple[str, str]
"""A text, or a pair of texts."""
WHOLE = re.compile(r"(-?[0-9]+)\.0+")
"""A whole number as tables write it whose column once held a gap."""


@dataclass(frozen=True)
class Example:
    """One labelled text, or pair of texts."""

    text: Text
    label: str
    place: tuple[str, int] = field(default=("", 0), compare=False)
    """File and line, for messages."""


def read_examples(
    path: Path, text_column: str = "text", label_column: str = "label", known_labels: Sequence[str] | None = None
) -> list[Example]:
    """Read a UTF-8 `.jsonl`, `.csv` (RFC 4180) or `.tsv` (IANA: tabs separate, no quoting) file of labelled texts.

    `text_column` may be two names with a comma between them: pairs of texts.
    With `known_labels` (a dev or test file) every label must be one of them; without (a training file) there must be
    two classes or more. Raises DataError with all problems of the file.
    """
    text_columns = text_columns_of(text_column, path)
    problems: list[str] = []
    rows = list(read_rows(path, Columns(text_columns, label_column), problems))
    examples = []
    for line, row in rows:
        text = _texts(row, line, text_columns, problems)
        label = _label(row[label_column], f"line {line}: {label_column!r}", problems)
        if label is not None and known_labels is not None and label not in known_labels:
            known = names(known_labels)
            problems.append(f"line {line}: unknown label {shown(label)}: the training set has {known}")
        if label is not None and text is not None:
            examples.append(Example(text, label, (str(path), line)))
    if not rows and not problems:
        problems.append("no examples in the file")
    classes = sorted({e.label for e in examples})
    if not problems and known_labels is None and len(classes) < 2:
        problems.append(f"only one class, {shown(classes[0])}: at least two are needed")
    if problems:
        raise DataError(path, problems)
    return examples


def read_texts(path: Path, text_column: str = "text") -> list[Text]:
    """The texts, or pairs of texts, of a file as `read_examples` reads it, which may lack labels. Raises DataError."""
    columns = text_columns_of(text_column, path)
    problems: list[str] = []
    rows = list(read_rows(path, Columns(columns), problems))
    texts = [_texts(row, line, columns, problems) for line, row in rows]
    if not rows and not problems:
        problems.append("no texts in the file")
    if problems:
        raise DataError(path, problems)
    return [text for text in texts if text is not None]


def examples_of(
    texts: Sequence[object], labels: Sequence[object], name: str, known_labels: Sequence[str] | None = None
) -> list[Example]:
    """Examples from values in memory, checked as `read_examples` checks those of a file. Raises DataError."""
    problems = [f"{len(texts)} texts, but {len(labels)} labels"] if len(texts) != len(labels) else []
    examples = []
    for number, (text, label) in enumerate(zip(texts, labels, strict=False), 1):
        known = _label(label, f"label {number}", problems)
        if known is not None and known_labels is not None and known not in known_labels:
            problems.append(f"label {number} is {shown(known)}: the training set has {names(known_labels)}")
        elif (found := _whole_text(text, f"text {number}", problems)) is not None and known is not None:
            examples.append(Example(found, known, (name, number)))
    if not examples and not problems:
        problems.append("no examples")
    if not problems and known_labels is None and len({e.label for e in examples}) < 2:
        problems.append("only one class: at least two are needed")
    if problems:
        raise DataError(name, problems)
    return examples


def texts_of(values: Sequence[object], name: str) -> list[Text]:
    """Texts, or pairs of texts, from values in memory. Raises DataError."""
    problems: list[str] = []
    texts = [_whole_text(value, f"text {number}", problems) for number, value in enumerate(values, 1)]
    if problems:
        raise DataError(name, problems)
    return [text for text in texts if text is not None]


def _whole_text(value: object, where: str, problems: list[str]) -> Text | None:
    parts = list(value) if isinstance(value, tuple | list) and len(value) == 2 else [value]
    texts = [_text(part, where, problems) for part in parts]
    if not all(texts):
        return None
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def text_columns_of(text_column: str, path: Path | str) -> list[str]:
    """The names in `--text-column`, one or two. Raises DataError."""
    columns = [name.strip() for name in text_column.split(",")]
    if not 1 <= len(columns) <= 2 or not all(columns):
        raise DataError(path, [f"--text-column is {text_column!r}: give one column, or two with a comma between them"])
    return columns


def _texts(row: Mapping[str, object], line: int, columns: Sequence[str], problems: list[str]) -> Text | None:
    """A row's text or pair of texts; None after reporting what is wrong with it."""
    texts = [_text(row[name], f"line {line}: {name!r}", problems) for name in columns]
    if not all(texts):
        return None
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _text(value: object, where: str, problems: list[str]) -> str:
    """The text, or "" after reporting what is wrong with it."""
    if not isinstance(value, str):
        problems.append(f"{where} is {shown(value)}, expected a string")
        return ""
    if not value.strip():
        problems.append(f"{where} is empty")
    if half := _half_a_character(value):
        problems.append(f"{where} {half}")
        return ""
    return value.strip()


def _label(value: object, where: str, problems: list[str]) -> str | None:
    """The name of a class: of a number that is whole, 0.0 like 0, its digits; of a JSON boolean, true or false."""
    if isinstance(value, bool | int) or (isinstance(value, float) and value.is_integer()):
        value = str(value).lower()
    if isinstance(value, str) and (half := _half_a_character(value)):
        problems.append(f"{where} {half}")
        return None
    if isinstance(value, str) and value.strip():
        whole = WHOLE.fullmatch(value.strip())
        return whole[1] if whole else value.strip()
    problems.append(f"{where} is {shown(value)}, expected a class name or whole number")
    return None


def _half_a_character(text: str) -> str:
    """What is wrong with a string that a JSON escape broke; empty: nothing."""
    at = lone_surrogate(text)
    if at is None:
        return ""
    return f"has half a character at position {at + 1}, \\u{ord(text[at]):04x}: write both halves, or neither"
