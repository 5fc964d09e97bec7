"""Files of a model folder: JSON with every way that it can be wrong, and pointers that stand for files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from ..commandline.problems import Report
from ..commandline.texts import parse_json

T = TypeVar("T")
_POINTER = b"version https://git-lfs.github.com/spec/"


def pointer_problem(path: Path) -> str:
    """What is wrong with a file of which Git LFS has fetched the pointer only; empty for any other file."""
    try:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) != _POINTER:
                return ""
    except OSError:
        return ""
    return f"{path.name} is a Git LFS pointer, not the file itself (run `git lfs pull` in {path.parent})"


def read_json(path: Path, kind: type[T], report: Report, hint: str = "") -> T | None:
    """The JSON value of a file, or None with the problem reported; `kind`: dict or list, whichever it must be."""
    try:
        value = parse_json(path.read_text(encoding="utf-8-sig"))  # editors of Windows put a mark before it
    except OSError as e:
        report.error(f"cannot read {path}: {e.strerror}", hint)
    except ValueError as e:
        report.error(pointer_problem(path) or f"{path.name} is not JSON: {e}")
    else:
        if isinstance(value, kind):
            return value
        report.error(f"{path.name} is not a JSON {'object' if kind is dict else 'array'}")
    return None


def optional_json(path: Path, report: Report) -> dict[str, Any]:
    """The JSON object of a file; empty where there is none."""
    return (read_json(path, dict, report) or {}) if path.is_file() else {}
