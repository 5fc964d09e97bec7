"""The command line of all benchmarks."""

from __future__ import annotations

import ast
import sys

import pytest
from helpers.places import ROOT

import run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("layer --tokens 0", "argument --tokens: '0' is not a whole number from 1 on"),
        ("generation --candidates 1", "argument --candidates: '1' is not a whole number from 2 on"),
        ("forward --layers 7", "--layers is 7, minilm has 6"),
        ("generation --below-top 7", "--prompt-layer is -1"),
    ],
)
def test_wrong_options_end_with_a_message(
    line: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *line.split(), "--dry"])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", run.COMMANDS)
def test_every_command_says_what_it_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.parsed([command, "--help"])
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert help_text.startswith(f"usage: run.py {command} ")
    assert f"benchmarks/run.py {command}" in help_text
    assert f"benchmarks/run.py {command}" in (run.__doc__ or "")


def test_folders_import_downward() -> None:
    order = ("run", "faults", "survival", "adapters", "accuracy", "peers", "performance", "processes", "cells", "rows")
    folder = ROOT / "benchmarks"
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and (other := node.module.split(".")[0]) in order:
                assert order.index(own) <= order.index(other), f"{path.relative_to(ROOT)} imports {node.module}"
