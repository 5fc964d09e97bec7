"""All commands look alike: panels, names, defaults, an example that works, and the page in the docs."""

from __future__ import annotations

import re
import shlex

import pytest
from helpers.commands import run
from helpers.places import ROOT
from secfwt.codegen import VERSION
from secfwt.codegen.commandline.command import Command
from secfwt.codegen.commandline.options import PANELS
from secfwt.runtime.commands.pages import COMMANDS, page


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help(command: Command, columns: int) -> None:
    said = run(command.parse, "--help", columns=columns)
    assert said.exit_code == 0
    text = said.stdout
    panels = [line[:-1] for line in text.splitlines() if line.endswith(":") and line[:-1] in PANELS]
    assert panels == [panel for panel in PANELS if any(each.option.panel == panel for each in command.options)]
    for each in command.options:
        for name in each.names:
            assert re.search(rf"^ .*{re.escape(name)}\b", text, re.MULTILINE), f"{name} is cut"
    for choice in (choice for each in command.options for choice in each.choices if choice):
        assert re.search(rf"\b{re.escape(choice)}\b", text), f"{choice} is cut"
    assert text.rstrip().splitlines()[-2:] == ["example:", f"  {command.example}"]
    options = text[text.index(f"\n{panels[0]}:") :].split("example:")[0] if panels else ""
    assert all(len(line) <= columns for line in options.splitlines())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_are_understood(command: Command) -> None:
    name, *words = shlex.split(command.example)
    assert name == command.name
    typed = command.parse(words)
    assert all(each.name in typed for each in command.options if each.required)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_version(command: Command) -> None:
    said = run(command.parse, "--version")
    assert (said.exit_code, said.stdout) == (0, f"secfwt {VERSION}\n")


def test_the_docs_page_is_that_of_the_code() -> None:
    kept = (ROOT / "docs" / "options.md").read_text()
    assert kept == page(), "docs/options.md: renew it with python -m secfwt.runtime.commands.pages > docs/options.md"
