"""Options of a command as parameters of a Python class: declared once, for both."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ..parties.deployment import Deployment
from ..run_folder import private_folder
from ..tuning.options import TuneOptions

FILES = ("data", "dev", "test", "text_column", "label_column", "test_limit")
"""Options about files, which values in memory need not."""
PAIRS = ("label_texts", "label_words")
"""Options of a text per label: a mapping, or `label=text` each."""


def defaults(leave_out: Iterable[str] = (), options: type = TuneOptions, **others: Any) -> dict[str, Any]:
    """Names and defaults: those of `options`, and `others`."""
    kept = {
        field.name: field.default
        for field in fields(options)
        if field.name not in leave_out and field.default is not MISSING
    }
    return {**kept, **others}


def signed(parameters: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of an `__init__(self, **given)`: shows these keyword parameters, refuses others, fills in defaults."""
    shown = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    shown += [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=v) for n, v in parameters.items()]
    signature = inspect.Signature(shown)

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        def __init__(self: Any, **given: Any) -> None:  # noqa: N807
            bound = signature.bind(self, **given)
            bound.apply_defaults()
            init(self, **{name: value for name, value in bound.arguments.items() if name != "self"})

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        __init__.__doc__ = init.__doc__
        return __init__

    return decorate


def given_options(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What `TuneOptions` takes of a class's parameters; None is what was not given.

    A `Deployment` is kept in the run's `folder`, where whoever resumes the run or uses its prompt finds it.
    """
    values = {name: given[name] for name in defaults() if given.get(name) is not None}
    for name in PAIRS:
        if isinstance(pairs := values.get(name), Mapping):
            values[name] = tuple(f"{label}={text}" for label, text in pairs.items())
    for name, value in values.items():
        if name == "deployment":
            values[name] = deployments(value, folder)
        elif isinstance(value, list):
            values[name] = tuple(value)
        elif hasattr(value, "__fspath__"):
            values[name] = str(value)
    return values


def deployments(given: Any, folder: Path) -> tuple[str, ...]:
    """The files of one deployment or, for groups of parties, of several; objects are `kept` in the folder."""
    each = given if isinstance(given, list | tuple) else [given]
    return tuple(
        kept(one, folder, f"deployment{number if number > 1 else ''}.toml") if isinstance(one, Deployment) else str(one)
        for number, one in enumerate(each, 1)
        if one
    )


def kept(deployment: Deployment, folder: Path, name: str = "deployment.toml") -> str:
    """The file in a run's folder that holds a deployment."""
    private_folder(folder)
    path = folder.absolute() / name
    deployment.save(path)
    return str(path)
