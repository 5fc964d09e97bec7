"""The rooms of the two packages and who imports whom: for the test of their order and for the drawing of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from helpers.places import ROOT

CODEGEN = (
    "cli", "estimate", "bundle", "compile", "intervals", "mpspdz", "lowering", "memory", "native", "ring", "owners",
    "plan", "model", "hub", "series", "commandline",
)  # fmt: skip
"""From top to bottom: folders, and the files beside them. A file imports from its own folder and from lower ones."""
RUNTIME = (
    "tune", "compare", "commands", "interface", "comparison", "conversion", "generation", "federation", "prediction",
    "tuning", "split", "reporting", "data", "evaluation", "adaptation", "groups", "mpspdz", "embedded", "parties",
    "progress", "run_folder", "privacy", "engine", "closing", "errors",
)  # fmt: skip
ORDER = [f"runtime.{name}" for name in RUNTIME] + [f"codegen.{name}" for name in CODEGEN]


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
"""What every module imports of the two packages."""
MODULES = [module for module in GRAPH if not module.endswith("__init__")]


def purpose(path: Path) -> str:
    """The docstring of a file: of a folder's `__init__.py`, what the folder is for."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""
