"""Problems as values: a step collects all it finds and reports them at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


def note(text: str) -> None:
    """Say what was decided where a file left a choice; on standard error, unless a program handles `secfwt`'s log."""
    logging.getLogger("secfwt").warning("note: %s", text)


class SecfwtError(Exception):
    """Something the user can put right; the message names the input, its value and what would be accepted."""

    exit_code = 2
    resumable = False
    """Whether what was begun can be continued once the cause is mended."""

    def report(self) -> str:
        """What a command prints."""
        return f"error: {self}"


@dataclass(frozen=True)
class Problem:
    """One finding: `header` names the input and the value, `detail` says what would be accepted."""

    level: Level
    header: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.header}" + (f"\n  {self.detail}" if self.detail else "")


class ProblemsFound(SecfwtError):  # noqa: N818 (the name says what it carries)
    """Raised once, after a step has looked at all its input, when at least one problem is an error."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def report(self) -> str:
        """What a command prints: every problem says itself which kind it is."""
        return str(self)


class Report:
    """Collects problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def error(self, header: str, detail: str = "") -> None:
        """Something that forbids going on."""
        self.problems.append(Problem("error", header, detail))

    def warn(self, header: str, detail: str = "") -> None:
        """Something the user should know."""
        self.problems.append(Problem("warning", header, detail))

    @property
    def failed(self) -> bool:
        """Whether any problem is an error."""
        return any(problem.level == "error" for problem in self.problems)

    def check(self) -> list[Problem]:
        """The warnings; raises `ProblemsFound` with everything when there is an error."""
        if self.failed:
            raise ProblemsFound(self.problems)
        return self.problems
