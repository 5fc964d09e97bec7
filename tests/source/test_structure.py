"""Rooms: imports run downward, between folders as well as between files; every folder says what it is for."""

from __future__ import annotations

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from helpers.places import ROOT
from helpers.rooms import GRAPH, MODULES, ORDER, purpose, room, sources

MOST = 14
"""Files in a folder, its `__init__.py` not counted."""


def test_every_room_has_its_place() -> None:
    assert sorted({room(module) for module in MODULES}) == sorted(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward(module: str) -> None:
    upward = [
        f"{module} imports {other}: {room(other)} stands above {room(module)}"
        for other in GRAPH[module]
        if not other.endswith("__init__") and ORDER.index(room(other)) < ORDER.index(room(module))
    ]
    assert not upward, "\n".join(upward)


def test_no_circles() -> None:
    try:
        tuple(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(f"files import each other: {' -> '.join(error.args[1])}")


def folders() -> list[Path]:
    """Folders of the two packages."""
    return sorted({path.parent for path in sources().values()} - {ROOT / "codegen", ROOT / "runtime"})


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_has_one_purpose_and_a_size(folder: Path) -> None:
    sentence = purpose(folder / "__init__.py")
    assert sentence.count("\n") == 0, f"{folder}: its purpose stands on one line"
    assert sentence.endswith("."), f"{folder}: its purpose is one sentence"
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert len(names) <= MOST, f"{folder}: {len(names)} files: {', '.join(names)}"
    repeated = [name for name in names if folder.name in name.split("_")]
    assert not repeated, f"{folder}: names that repeat the folder's: {', '.join(repeated)}"


def test_the_drawing_shows_these_imports() -> None:
    draw = ROOT / "docs" / "draw.py"
    now = subprocess.run([sys.executable, draw, "-"], capture_output=True, text=True, check=True).stdout
    drawn = (ROOT / "docs" / "figures" / "rooms.svg").read_text("utf-8")
    assert now == drawn, "docs/figures/rooms.svg shows other imports or purposes than the code's: run docs/draw.py"
