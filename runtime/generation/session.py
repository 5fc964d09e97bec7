"""A generation from options to text."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console

from ...codegen.commandline.texts import lone_surrogate
from ..data.records import DataError
from ..progress import make_display
from .options import GenerateOptions
from .texts import Texts


def generate(options: GenerateOptions, console: Console, tell: Callable[[str], None]) -> str:
    """Continue a text, telling it piece by piece; returns all of it. Raises DataError, ProblemsFound, RunFolderError,
    BudgetSpentError, and as the engine does."""
    prompt = _prompt(options)
    with Texts(options, make_display(console), prompt) as texts:
        pieces = []
        for piece in texts.continued(prompt):
            tell(piece)
            pieces.append(piece)
    return "".join(pieces)


def _prompt(options: GenerateOptions) -> str:
    prompt, where = (options.prompt, "--prompt") if options.prompt else (sys.stdin.read(), "standard input")
    if lone_surrogate(prompt) is not None:
        raise DataError(where, ["the text is not UTF-8"])
    if not prompt.strip():
        raise DataError(where, ["no text: give --prompt TEXT, or a text on standard input"])
    return prompt if options.prompt else prompt.removesuffix("\n")
