"""Commands run in this process: what they print and how they end."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Results, then messages."""
        return self.stdout + self.stderr


def run(main: Callable[[Sequence[str]], None], *words: Any, columns: int = 120) -> Ended:
    """Run a command with these words, on a terminal of so many columns."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    size = os.terminal_size((columns, 24))
    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        patch.dict(os.environ, {"COLUMNS": str(columns)}), patch.object(shutil, "get_terminal_size", lambda *_: size),
    ):  # fmt: skip
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())
