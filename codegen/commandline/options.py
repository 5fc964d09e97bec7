"""Options declared once, as fields of a dataclass; command line, checks, JSON and the docs' pages follow.

    @dataclass(frozen=True)
    class SearchOptions:
        popsize: Annotated[int, Option("Candidates per generation.", SEARCH, at_least=2)] = 20

A subclass may give a field another default by naming it again without `Option`. Fields without one are no options of a
command line. Types: int, float, bool, str, Path, a Literal of strings, or a tuple of any length of strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from math import inf
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .problems import Report

T = TypeVar("T")

DATA, MODEL, LABELS, ATTENTION = "Data", "Model and program", "Head and labels", "Attention"
SEARCH, TRAINING, GENERATION, ENGINE, RUN = "Search", "Training", "Generation", "Engine", "Run"
PANELS = (DATA, MODEL, LABELS, ATTENTION, SEARCH, TRAINING, GENERATION, ENGINE, RUN)
"""Groups of options in the order in which every command shows them."""


@dataclass(frozen=True)
class Option:
    """What a field is to those who type it; the field itself has its type and default."""

    help: str
    panel: str
    names: tuple[str, ...] = ()
    """As typed; default: `--` and the field's name. One without dashes is an argument, known by its place."""
    metavar: str = ""
    at_least: float = -inf
    above: float = -inf
    at_most: float = inf
    below: float = inf
    separator: str = ""
    """Of a tuple's parts in one word; empty: several words, the option may be repeated."""
    default: str = ""
    """What help says of the default, where the value does not speak for itself."""
    settled: bool = True
    """Of a program's option: whether its bundle has settled it."""
    resumable: bool = False
    """Whether a run that is resumed may have another value than it began with."""
    path: bool = False
    """Whether a string names a file or folder: a run keeps it absolute, so that it can be resumed from anywhere."""


@dataclass(frozen=True)
class Declared:
    """An option and the field that declares it."""

    name: str
    kind: type
    """int, float, bool, str or Path; of a tuple: that of its parts."""
    many: bool
    choices: tuple[str, ...]
    default: Any
    """MISSING: the option must be given."""
    option: Option

    @property
    def names(self) -> tuple[str, ...]:
        """As typed."""
        return self.option.names or ("--" + self.name.replace("_", "-"),)

    @property
    def flag(self) -> str:
        """The spelling that messages use."""
        return next((name for name in self.names if name.startswith("--")), self.names[0])

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    def read(self, text: str) -> Any:
        """The value of one typed word. Raises ValueError saying what is accepted."""
        if self.many and self.option.separator:
            return tuple(part.strip() for part in text.split(self.option.separator) if part.strip())
        if self.option.path and self.kind is str:
            return str(Path(text).absolute())
        if self.kind in (int, float):
            try:
                return self.kind(text)
            except ValueError:
                raise ValueError(f"It must be a {'whole ' if self.kind is int else ''}number.") from None
        return self.kind(text)

    def wrong(self, value: Any) -> str:
        """What is accepted in place of a value; empty where it is right."""
        option = self.option
        if self.choices:
            wanted = [choice for choice in self.choices if choice]
            return "" if value in self.choices else f"Accepted: {', '.join(wanted)}."
        if self.kind not in (int, float) or value is None:
            return ""
        if (option.at_least, option.at_most) == (0, 1):
            return "" if 0 <= value <= 1 else "It must be from 0 to 1."
        for bound, holds, words in (
            (option.at_least, value >= option.at_least, f"at least {option.at_least}"),
            (option.above, value > option.above, f"above {option.above}" if option.above else "positive"),
            (option.at_most, value <= option.at_most, f"at most {option.at_most}"),
            (option.below, value < option.below, f"below {option.below}"),
        ):
            if abs(bound) < inf and not holds:
                return f"It must be {words}."
        return "" if abs(value) < inf else "It must be finite."


def options_of(cls: type) -> tuple[Declared, ...]:
    """The options that a dataclass declares, in order."""
    declarations: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, hint in get_type_hints(base, include_extras=True).items() if base is not object else ():
            if get_origin(hint) is Annotated or name not in declarations:
                declarations[name] = hint
    return tuple(
        _declared(field.name, declarations[field.name], field.default)
        for field in fields(cls)
        if _option(declarations[field.name]) is not None
    )


def _option(hint: Any) -> Option | None:
    found = (part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Option))
    return next(found, None)


def _declared(name: str, hint: Any, default: Any) -> Declared:
    option = _option(hint)
    assert option is not None
    kind, many = get_args(hint)[0], get_origin(get_args(hint)[0]) is tuple
    if many:
        kind = get_args(kind)[0]
    if isinstance(kind, UnionType) or get_origin(kind) is Union:  # with None
        kind = next(part for part in get_args(kind) if part is not type(None))
    choices = tuple(str(choice) for choice in get_args(kind)) if get_origin(kind) is Literal else ()
    if choices:
        kind = str
    return Declared(name, kind, many, choices, default, option)


def flag(cls: type, name: str) -> str:
    """A field's spelling on the command line."""
    return next(each.flag for each in options_of(cls) if each.name == name)


def check(options: object) -> Report:
    """A report with everything that is out of its range or not among its choices; for what depends on several."""
    report = Report()
    for header, detail in _findings(options):
        report.error(header, detail)
    return report


def _findings(options: object) -> Iterator[tuple[str, str]]:
    for each in options_of(type(options)):
        value = getattr(options, each.name)
        if detail := each.wrong(value):
            shown = repr(value) if isinstance(value, str) else value
            yield f"{each.flag} is {shown}", detail


def read_back(cls: type[T], stored: Mapping[str, Any]) -> T:
    """Options, or any flat dataclass, from the JSON that `dataclasses.asdict` became: its lists are tuples.

    Raises TypeError where the fields are not those of the class, ProblemsFound where a value is out of range.
    """
    many = {each.name for each in options_of(cls) if each.many}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    for name in many & values.keys():
        if isinstance(values[name], str):  # of a version that took one
            values[name] = (values[name],) if values[name] else ()
    return cls(**values)
