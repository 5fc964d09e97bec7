"""One command line: options of dataclasses in, a function called with what was typed; help, version, exit codes.

Whatever heavy a command needs is imported inside its function, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from .. import VERSION
from .ending import exit_codes, last_resort, prepare_streams
from .options import PANELS, Declared, options_of
from .problems import ProblemsFound, Report
from .texts import lone_surrogate

WIDEST = 110
"""Columns of help on a wide terminal: longer lines are hard to read."""


@dataclass(frozen=True)
class Typed:
    """What stood on a command line, by field; options that were left out are not in it."""

    command: Command
    values: Mapping[str, Any]
    words: Mapping[str, Any]
    """The same before they were read."""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def of(self, cls: type) -> dict[str, Any]:
        """Those of one dataclass."""
        return {each.name: self.values[each.name] for each in options_of(cls) if each.name in self.values}

    def make(self, *classes: type[Any]) -> Any:
        """One of the dataclasses, or several as a tuple, with their defaults where nothing was typed.

        Raises `ProblemsFound` with everything that is missing or out of range in any of them.
        """
        report, made = Report(), list[Any]()
        for cls in classes:
            missing = [each for each in options_of(cls) if each.required and each.name not in self.values]
            for each in missing:
                report.error(f"{each.flag} is missing", each.option.help)
            try:
                made += [] if missing else [cls(**self.of(cls))]
            except ProblemsFound as found:
                report.problems += found.problems
        report.check()
        return made[0] if len(classes) == 1 else tuple(made)

    def line(self, leave_out: Sequence[str] = ()) -> str:
        """The command on one line, without folders: the same input gives the same bytes anywhere."""
        words = [self.command.name]
        for each in self.command.options:
            if each.name in self.values and each.name not in leave_out:
                words += _typed(each, self.values[each.name], self.words[each.name])
        line = " ".join(shlex.join(words).splitlines())
        return line.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files may be any bytes


@dataclass(frozen=True)
class Command:
    """A command: its name, the dataclasses whose fields are its options, and what help says around them."""

    name: str
    declares: Sequence[type]
    summary: str
    """What it does, one line or more."""
    example: str
    """One line that works as it stands, or with names put in."""
    options: tuple[Declared, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(each for cls in self.declares for each in options_of(cls)))

    def parse(self, words: Sequence[str] | None = None) -> Typed:
        """Read a command line (default: this process's). Prints and exits for help, version and unknown options.

        Raises `ProblemsFound` with every value that cannot be read, or is missing.
        """
        given = vars(_parser(self).parse_args(self._joined(sys.argv[1:] if words is None else words)))
        report, values = Report(), dict[str, Any]()
        for each in self.options:
            typed = given[each.name]
            if typed is None:
                continue
            try:
                values[each.name] = _value(each, typed)
            except ValueError as error:
                report.error(f"{each.flag} is {typed!r}", str(error))
        report.check()
        return Typed(self, values, given)

    def _joined(self, words: Sequence[str]) -> list[str]:
        """Options joined with values that begin with a dash, which argparse would take for options."""
        single = {name for each in self.options if each.kind is not bool for name in each.names}
        known = {name for each in self.options for name in each.names}
        result: list[str] = []
        for word in words:
            if result and result[-1] in single and word.startswith("-") and word.split("=")[0] not in known:
                result[-1] += f"={word}"
            else:
                result.append(word)
        return result

    def run(self, function: Callable[[Typed], int | None], words: Sequence[str] | None = None) -> None:
        """Parse and call; exit with the code that the function returns, if any, or as `exit_codes` says."""
        if words is None:  # the process is this command's
            prepare_streams()
            os.environ["MPLBACKEND"] = "agg"  # figures are files; a notebook's backend is not in this environment
        with last_resort(self.name), exit_codes():
            code = function(self.parse(words))
        if code:
            sys.exit(code)


def _value(declared: Declared, typed: Any) -> Any:
    if isinstance(typed, bool):
        return typed
    words = [word for group in typed for word in group] if isinstance(typed, list) else [typed]
    if declared.kind is str and not declared.option.path and any(lone_surrogate(word) is not None for word in words):
        raise ValueError("It must be UTF-8.")
    return tuple(map(declared.read, words)) if isinstance(typed, list) else declared.read(typed)


def _typed(each: Declared, value: Any, word: Any) -> list[str]:
    """The words that an option with a value stands for, without folders."""
    if each.kind is bool:
        return [each.flag if value else f"--no-{each.flag.removeprefix('--')}"]
    flag = [each.names[0]] if each.names[0].startswith("-") else []
    if isinstance(value, tuple) and not each.option.separator:
        return [*flag, *value]
    shown = word if isinstance(value, tuple) else value.absolute().name if isinstance(value, Path) else value
    return [*flag, str(shown)]


# argparse from the declarations


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\n  {self.prog} --help lists what is accepted.", file=sys.stderr)
        raise SystemExit(2)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _parser(command: Command) -> argparse.ArgumentParser:
    arguments = [each for each in command.options if not each.flag.startswith("-")]
    usage = " ".join([command.name, "[options]", *(metavar(each) for each in arguments)])
    width = min(shutil.get_terminal_size().columns, WIDEST)
    parser = _Parser(
        prog=command.name, usage=usage, description=command.summary, epilog=f"example:\n  {command.example}",
        allow_abbrev=False, add_help=False,
        formatter_class=lambda prog: _Formatter(prog, max_help_position=28, width=width),
    )  # fmt: skip
    for panel in PANELS:
        members = [each for each in command.options if each.option.panel == panel]
        group = parser.add_argument_group(panel) if members else None
        for each in members:
            assert group is not None
            _add(group, each)
    about = parser.add_argument_group("About")
    about.add_argument("--help", "-h", action="help", help="Show this text and exit.")
    about.add_argument("--version", action="version", version=f"secfwt {VERSION}", help="Show the version and exit.")
    return parser


def _add(group: argparse._ArgumentGroup, each: Declared) -> None:
    text = _help(each).replace("%", "%%")
    if not each.flag.startswith("-"):
        # Whether it is missing is said with everything else that is.
        group.add_argument(each.name, metavar=metavar(each), nargs="?", help=text)
        return
    names: dict[str, Any] = {"dest": each.name, "help": text, "default": None}
    if each.kind is bool:
        group.add_argument(*each.names, action=argparse.BooleanOptionalAction, **names)
    elif each.many and not each.option.separator:
        group.add_argument(*each.names, nargs="+", action="append", metavar=metavar(each), **names)
    else:
        group.add_argument(*each.names, metavar=metavar(each), **names)


def metavar(each: Declared) -> str:
    """What stands for an option's value."""
    if not each.flag.startswith("-"):
        return each.flag
    kinds: dict[type, str] = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
    return each.option.metavar or ("NAME" if each.choices else kinds.get(each.kind, "TEXT"))


def default_text(each: Declared) -> str:
    """The default as help says it; empty: there is nothing to say."""
    if each.option.default or each.required:
        return each.option.default
    if each.default in ("", (), None) or each.kind is bool:
        return ""
    return f"{each.default:g}" if each.kind is float else str(each.default)


def _help(each: Declared) -> str:
    """Text, choices, default."""
    parts = [each.option.help]
    if choices := [choice for choice in each.choices if choice]:
        parts.append(f"One of: {', '.join(choices)}.")
    if each.required:
        parts.append("Required.")
    elif default := default_text(each):
        parts.append(f"Default: {default}.")
    return " ".join(parts)
