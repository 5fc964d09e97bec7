"""Text of a decoder from Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from rich.console import Console

from ..closing import Closing
from ..generation.options import GenerateOptions
from ..generation.texts import Texts
from ..parties.deployment import Deployment
from ..progress import make_display
from .parameters import defaults, kept, signed

LENGTH = 64
PARAMETERS = defaults(("prompt",), GenerateOptions, sequence_length=LENGTH, verbose=False)


class TextGenerator(Closing):
    """Continues texts by private inference. Parameters are the options of `secfwt-generate`, by their names, but for
    the text, and `verbose`: `TextGenerator(model="MODEL_DIR", max_new_tokens=40)`.

    `sequence_length` is 64 by default, as one program serves all texts: longer ones are cut, with a warning. Local
    parties run while a method needs them, and in a `with` block between calls.

    Raises ProblemsFound (a SecfwtError) for parameters and models that do not fit.
    """

    @signed(PARAMETERS)
    def __init__(self, **parameters: Any) -> None:
        given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in parameters.items()}
        verbose = given.pop("verbose")
        given["run"] = Path(given["run"]) if given["run"] else None
        if isinstance(deployment := given["deployment"], Deployment):
            self._folder = TemporaryDirectory(prefix="secfwt-")
            given["deployment"] = kept(deployment, Path(self._folder.name))
        if given["bundle"] and given["sequence_length"] == LENGTH:
            given["sequence_length"] = 0  # the bundle's
        self.options = GenerateOptions(**given)
        self._display = make_display(Console(stderr=True, quiet=not verbose, highlight=False))
        self._texts: Texts | None = None
        self._kept = False

    def __enter__(self) -> Self:
        self._open()
        self._kept = True
        return self

    def close(self) -> None:
        """End parties that were started here. Safe to call twice."""
        texts, self._texts, self._kept = self._texts, None, False
        if texts is not None:
            texts.close()

    def stream(self, prompt: str) -> Iterator[str]:
        """What follows a text, piece by piece. Opens to the caller what each row says of the next token."""
        try:
            yield from self._open().continued(prompt)
        finally:
            if not self._kept:
                self.close()

    def generate(self, prompt: str) -> str:
        """What follows a text, in one piece."""
        return "".join(self.stream(prompt))

    def _open(self) -> Texts:
        if self._texts is None:
            self._texts = Texts(self.options, self._display).__enter__()
        return self._texts
