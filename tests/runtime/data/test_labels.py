"""What a label of the data is among a model's classes."""

from __future__ import annotations

import pytest
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.runtime.data.labels import class_names

FOUR = ("world", "sports", "business", "science")


def names(*labels: str) -> tuple[dict[str, str], list[str]]:
    found, warnings = class_names({label: f"a.csv, line {i}" for i, label in enumerate(labels, 2)}, FOUR)
    return found, [str(warning) for warning in warnings]


def refused(*labels: str) -> str:
    with pytest.raises(ProblemsFound) as found:
        names(*labels)
    return str(found.value)


def test_names_and_numbers_from_0() -> None:
    assert names("sports", "world") == ({"sports": "sports", "world": "world"}, [])
    assert names("0", "3") == ({"0": "world", "3": "science"}, [])
    assert class_names({"0": "", "1": ""}, ("1", "0"))[0] == {"0": "0", "1": "1"}, "names before numbers"


def test_numbers_that_begin_at_1() -> None:
    found, (warning,) = names("1", "2", "3")
    assert found == {"1": "sports", "2": "business", "3": "science"}
    assert "1 is sports, 2 is business, 3 is science; nothing is labelled 0, world" in warning
    text = refused("1", "2", "3", "4")
    assert "a.csv, line 5: label '4' is not one of the model's" in text
    assert text.count("error: ") == 1
    assert "seems to count from 1: lower its labels by one" in text


def test_only_what_is_wrong_is_blamed() -> None:
    text = refused("-1", "0", "1")
    assert "a.csv, line 2: label '-1' is not one of the model's" in text
    assert text.count("error: ") == 1
    assert "Accepted: world, sports, business, science, or all as numbers from 0 to 3." in text
    assert "-1 often marks texts without a label" in text
    assert refused("sports", "film").count("error: ") == 1
    assert refused("true", "false").count("error: ") == 2
    assert "label '1" in refused("1" * 5000, "2")
