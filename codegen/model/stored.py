"""Specs and options read back from the JSON that `dataclasses.asdict` of them became."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .options import GenOptions
from .spec import HeadSpec, ModelSpec


def stored_spec(fields: Mapping[str, Any]) -> ModelSpec:
    """Raises KeyError or TypeError where the fields are not a spec's."""
    return ModelSpec(**{**fields, "head": HeadSpec(**tuples(fields["head"]))})


def stored_options(fields: Mapping[str, Any]) -> GenOptions:
    """Raises TypeError where the fields are not options', ProblemsFound where a value is out of range."""
    return GenOptions(**tuples(fields))


def tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as the dataclasses' tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
