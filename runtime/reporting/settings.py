"""A run's options as a page shows them, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...codegen.commandline.options import options_of


@dataclass(frozen=True)
class Setting:
    """One option: as typed, as it was in the run, and whether that is not the default."""

    flag: str
    value: str
    changed: bool
    help: str


def settings(kind: type, values: Mapping[str, Any]) -> list[Setting]:
    """All options of a dataclass, with a run's values."""
    return [
        Setting(each.flag, _shown(values[each.name]), values[each.name] != each.default, each.option.help)
        for each in options_of(kind)
    ]


def command(name: str, kind: type, values: Mapping[str, Any], always: Collection[str] = ()) -> str:
    """The command line that asks for these values; `always`: options that are said even where they are the default."""
    words = [name]
    for each in options_of(kind):
        value = values[each.name]
        if value == each.default and each.name not in always:
            continue
        if isinstance(value, bool):
            words.append(each.flag if value else f"--no-{each.flag.removeprefix('--')}")
        else:
            words += [each.flag, *(value if isinstance(value, tuple) else [str(value)])]
    return shlex.join(words)


def _shown(value: Any) -> str:
    if value is None:
        return "auto"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
