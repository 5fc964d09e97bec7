"""Rooms: imports run downward, between folders as well as between files; every folder says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from helpers.places import ROOT

CODEGEN = (
    "cli", "estimate", "bundle", "compile", "mpspdz", "lowering", "native", "ring", "owners", "plan", "model", "series",
    "commandline",
)  # fmt: skip
"""From top to bottom: folders, and the files beside them. A file imports from its own folder and from lower ones."""
RUNTIME = (
    "tune", "compare", "commands", "comparison", "conversion", "tuning", "adaptation", "mpspdz", "embedded", "parties",
    "progress", "engine", "errors",
)  # fmt: skip
ORDER = [f"runtime.{name}" for name in RUNTIME] + [f"codegen.{name}" for name in CODEGEN]
MOST = 14
"""Files in a folder, its `__init__.py` not counted."""


def sources() -> dict[str, Path]:
    """Every module of the two packages by its dotted name below `secfwt`."""
    files = [path for top in ("codegen", "runtime") for path in (ROOT / top).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}


def imports(module: str, path: Path) -> Iterator[str]:
    """Modules of the two packages that a module imports, wherever in the file it does."""
    known = sources().keys()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = module.split(".")[: -node.level]
        elif node.module and node.module.split(".")[0] == "secfwt":
            base = []
        else:
            continue
        stem = [*base, *(node.module or "").removeprefix("secfwt.").split(".")] if node.module else base
        for alias in node.names:
            whole = ".".join([*stem, alias.name])
            name = whole if whole in known else ".".join(stem)
            if name in known:
                yield name


def room(module: str) -> str:
    """The folder, or the file beside folders, that a module belongs to."""
    return ".".join(module.split(".")[:2])


GRAPH = {module: sorted(set(imports(module, path))) for module, path in sorted(sources().items())}
MODULES = [module for module in GRAPH if not module.endswith("__init__")]


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
    purpose = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert purpose.count("\n") == 0, f"{folder}: its purpose stands on one line"
    assert purpose.endswith("."), f"{folder}: its purpose is one sentence"
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert len(names) <= MOST, f"{folder}: {len(names)} files: {', '.join(names)}"
    repeated = [name for name in names if folder.name in name.split("_")]
    assert not repeated, f"{folder}: names that repeat the folder's: {', '.join(repeated)}"
