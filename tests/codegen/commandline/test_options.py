"""Options as fields: types, ranges, defaults, and how a command reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secfwt.codegen.commandline.command import Command
from secfwt.codegen.commandline.options import MODEL, RUN, SEARCH, Option, check, options_of, read_back
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.commandline.texts import parse_json


@dataclass(frozen=True)
class Base:
    count: Annotated[int, Option("How many.", SEARCH, at_least=2)] = 4
    share: Annotated[float, Option("Part.", SEARCH, at_least=0, at_most=1)] = 0.5
    kind: Annotated[Literal["a", "b"], Option("Which.", MODEL)] = "a"

    def __post_init__(self) -> None:
        check(self).check()


@dataclass(frozen=True)
class Whole(Base):
    count: int = 8
    names: Annotated[tuple[str, ...], Option("Names.", MODEL, separator=",")] = ()
    texts: Annotated[tuple[str, ...], Option("Texts.", MODEL, ("--text",))] = ()
    fast: Annotated[bool, Option("Quickly.", RUN)] = False
    where: Annotated[Path | None, Option("Where.", RUN, ("--where", "-w"))] = None
    place: Annotated[str, Option("A folder.", RUN, path=True)] = ""
    hidden: int = 3


@dataclass(frozen=True)
class Needed:
    model: Annotated[Path, Option("The model.", MODEL, ("MODEL",))]
    out: Annotated[str, Option("The result.", RUN)]


COMMAND = Command("toy", (Needed, Whole), "A toy.", "toy model --out x")


def made(*words: str) -> Whole:
    whole = COMMAND.parse(words).make(Whole)
    assert isinstance(whole, Whole)
    return whole


def problems(*words: str) -> str:
    with pytest.raises(ProblemsFound) as found:
        COMMAND.parse(words).make(Whole)
    return str(found.value)


def test_a_subclass_changes_a_default_and_nothing_else() -> None:
    count = next(each for each in options_of(Whole) if each.name == "count")
    assert (count.default, count.option) == (8, options_of(Base)[0].option)
    assert "hidden" not in {each.name for each in options_of(Whole)}


def test_every_type_is_read() -> None:
    whole = made("--names", " x, y ,", "--text", "one", "two", "--text", "three", "--fast", "-w", "a/b", "--share", "1")
    assert (whole.names, whole.texts, whole.fast) == (("x", "y"), ("one", "two", "three"), True)
    assert (whole.where, whole.share, whole.count) == (Path("a/b"), 1.0, 8)
    assert made("--place", "x").place == str(Path.cwd() / "x")
    assert made("--no-fast").fast is False


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_is_a_value(text: str) -> None:
    """Also one that begins with dashes, as long as it is no option's name."""
    if text.split("=")[0] not in {name for each in COMMAND.options for name in each.names}:
        assert made(f"--text={text}").texts == (text,)


def test_a_value_may_begin_with_a_dash() -> None:
    assert made("--names", "-a,-b").names == ("-a", "-b")
    assert "--count is -1" in problems("--count", "-1")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = problems("--count", "1", "--share", "nan", "--kind", "c")
    assert "--count is 1\n  It must be at least 2." in text
    assert "--share is nan\n  It must be from 0 to 1." in text
    assert "--kind is 'c'\n  Accepted: a, b." in text
    assert "--count is 'x'\n  It must be a whole number." in problems("--count", "x")
    with pytest.raises(ProblemsFound) as found:
        COMMAND.parse(["--count", "0"]).make(Needed, Whole)
    assert "MODEL is missing" in str(found.value)
    assert "--out is missing" in str(found.value)
    assert "--count is 0" in str(found.value)


def test_json_is_read_back() -> None:
    assert read_back(Whole, {"names": ["x", "y"], "count": 3}) == Whole(count=3, names=("x", "y"))
    with pytest.raises(TypeError):
        read_back(Whole, {"unknown": 1})


def test_the_line_that_is_kept_has_no_folders() -> None:
    typed = COMMAND.parse(["some/where/model", "--names", "a, b", "--count", "05", "--out", "x\ny"])
    assert typed.line() == "toy model --out 'x y' --count 5 --names 'a, b'"
    assert typed.line(leave_out=("out",)) == "toy model --count 5 --names 'a, b'"


def test_unknown_options_end_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        COMMAND.parse(["--counts", "3"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "unrecognized arguments: --counts" in said
    assert "toy --help" in said


def test_the_line_has_flags_as_they_are_typed() -> None:
    typed = COMMAND.parse(["m", "--no-fast", "--text", "a b", "c", "--place", "x"])
    assert typed.line() == f"toy m --text 'a b' c --no-fast --place {Path.cwd() / 'x'}"
    assert COMMAND.parse(["m", "--fast"]).line() == "toy m --fast"
    assert COMMAND.parse(["m\udcff", "--fast"]).line() == r"toy 'm\udcff' --fast"


def test_a_word_that_is_no_text_is_refused() -> None:
    assert r"--text is [['a', 'b\udcff']]" "\n  It must be UTF-8." in problems("--text", "a", "b\udcff")
    assert r"--names is 'a\udcff'" in problems("--names", "a\udcff")
    assert made("--place", "x\udcff").place.endswith("x\udcff")


def test_json_that_is_no_json() -> None:
    for text in ("[" * 100_000, "1" * 5000, "\ufeff{}", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)
