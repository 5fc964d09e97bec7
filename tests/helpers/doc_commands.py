"""Command lines of the pages: of code blocks, and of code within sentences and tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from helpers.places import ROOT
from secfwt.codegen.commandline.command import Command
from secfwt.runtime.commands.pages import COMMANDS, SCRIPTS

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/*.md")]
)
NAMED = {command.name: command for command in COMMANDS}
NAMED |= {script: NAMED[name] for name, script in SCRIPTS.items()} | {"tune.py": NAMED["secfwt-tune"]}
LEFT_OUT = {"…", "..."}
NUMBERS = {"N", "M", "i"}
"""What stands for a number on a page."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """Texts of code blocks in these languages."""
    return [text for language, text in BLOCK.findall(page.read_text("utf-8")) if language in languages]


def lines(text: str) -> Iterator[str]:
    """Whole command lines of a block: what goes on behind a backslash belongs to its line."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def commands(page: Path) -> list[str]:
    """Everything on a page that begins with the name of a command."""
    text = page.read_text("utf-8")
    found = [line for block in blocks(page, "sh", "bash") for line in lines(block)]
    without = BLOCK.sub("", text).replace("\\\n", " ")
    found += [line.strip() for line in without.splitlines() if line.startswith("    ")]
    found += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without)]
    return list(dict.fromkeys(each for each in found if each.split() and each.split()[0] in NAMED))


def split(line: str) -> tuple[Command, list[str]]:
    """The command and its words; 1 stands for a value that the page does not say, and other words that it leaves out
    are left out."""
    name, *words = shlex.split(line, comments=True)
    valued = {flag for each in NAMED[name].options if each.kind is not bool for flag in each.names if flag[0] == "-"}
    result: list[str] = []
    for word, before, behind in zip(words, ["", *words], [*words[1:], ""], strict=False):
        missing = word in LEFT_OUT
        if not missing or before in valued:
            result.append("1" if missing or word in NUMBERS else word)
        if word in valued and not behind:
            result.append("1")
    return NAMED[name], result
