"""docs/options.md from the commands' declarations: `python -m secfwt.runtime.commands.pages > docs/options.md`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ...codegen import cli
from ...codegen.commandline.command import Command, default_text, metavar
from ...codegen.commandline.options import PANELS, Declared
from ..federation import command as join
from ..split import serving
from . import certs, compare, convert, doctor, evaluate, export, generate, party, predict, tune, weights

COMMANDS = (
    cli.COMMAND, tune.COMMAND, predict.COMMAND, evaluate.COMMAND, generate.COMMAND, export.COMMAND, compare.COMMAND,
    convert.COMMAND, party.COMMAND, weights.COMMAND, join.COMMAND, serving.COMMAND, certs.COMMAND, doctor.COMMAND,
)  # fmt: skip
SCRIPTS = {"secfwt-tune": "runtime/tune.py", "secfwt-compare": "runtime/compare.py"}
"""What the commands are called in a checkout."""
HEAD = """\
# Options of all commands

This page is made from the declarations in the code (`python -m secfwt.runtime.commands.pages`), as
`--help` is. Every command also has `--help` and `--version`.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for command in COMMANDS for line in _section(command))])


def _section(command: Command) -> Iterator[str]:
    script = SCRIPTS.get(command.name)
    yield f"## `{command.name}`" + (f", `{script}`" if script else "")
    yield ""
    for paragraph in command.summary.split("\n\n"):
        yield textwrap.fill(paragraph, 100)
        yield ""
    yield f"    {command.example}"
    yield ""
    for panel in PANELS:
        members = [each for each in command.options if each.option.panel == panel]
        if members:
            yield f"| {panel} | | default |"
            yield "|---|---|---|"
            yield from (_row(each) for each in members)
            yield ""


def _row(each: Declared) -> str:
    names = ", ".join(f"`{name}`" for name in each.names)
    if each.kind is not bool and each.flag.startswith("-"):
        names += f" {metavar(each)}"
    text = each.option.help
    if choices := [f"`{choice}`" for choice in each.choices if choice]:
        text += f" One of: {', '.join(choices)}."
    cells = (names, text, "required" if each.required else default_text(each))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(page(), end="")
