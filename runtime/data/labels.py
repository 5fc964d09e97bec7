"""Which of a classifier's classes the labels of the data stand for: their names, or their numbers from 0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ...codegen.commandline.problems import Problem, Report

NUMBER = re.compile("-?[0-9]{1,9}")


def class_names(places: Mapping[str, str], classes: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
    """The class of every label, and what the user should know of them.

    `places`: where each label stands first, as in `train.csv, line 3`. Labels are names of classes; or all of them are
    numbers, and stand for the classes in their order from 0. Raises `ProblemsFound` naming every label that is neither.
    """
    report, names = Report(), {name: i for i, name in enumerate(classes)}
    numbered = not places.keys() <= names.keys() and all(NUMBER.fullmatch(label) for label in places)
    chosen = {label: int(label) for label in places} if numbered else names
    for label, place in places.items():
        if not 0 <= chosen.get(label, -1) < len(classes):
            report.error(f"{place}: label {label!r} is not one of the model's", _accepted(chosen.values(), classes))
    if numbered and 0 not in chosen.values():
        shown = ", ".join(f"{label} is {classes[n]}" for label, n in chosen.items() if n < len(classes))
        report.warn(
            f"labels count from 0: {shown}; nothing is labelled 0, {classes[0]}",
            "If the file counts from 1, lower its labels by one, or write the classes' names.",
        )
    report.check()
    return {label: classes[chosen[label]] for label in places}, report.problems


def as_labelled(names: Mapping[str, str], classes: Sequence[str]) -> list[str]:
    """The classes by the data's own words for them: the labels of `names` (as `class_names` gives them), where there
    are any, else their names."""
    labels = {name: label for label, name in names.items()}
    return [labels.get(name, name) for name in classes]


def _accepted(chosen: Iterable[int], classes: Sequence[str]) -> str:
    numbers = set(chosen)
    text = f"Accepted: {', '.join(classes)}, or all as numbers from 0 to {len(classes) - 1}."
    if (min(numbers), max(numbers)) == (1, len(classes)):
        text += " The file seems to count from 1: lower its labels by one, or write the classes' names."
    elif -1 in numbers:
        text += " -1 often marks texts without a label: leave those out."
    return text
