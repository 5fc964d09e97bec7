"""Groups of parties as a session opens them: one engine for each deployment file, and the one made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from ..engine import Engine, Progress
from ..errors import GroupError, ServiceError
from ..progress import Display
from .engine import Group, GroupedEngine, GroupEngine
from .progress import StepProgress

Opening = Callable[[Path, Progress], AbstractContextManager[GroupEngine]]
"""The engine of one deployment file, which tells how far it is."""


@contextmanager
def opened_groups(deployments: Sequence[str], opening: Opening, display: Display) -> Iterator[Engine]:
    """The engine of one deployment, or of several groups as one.

    Raises what `opening` raises, and GroupError where a group is not there or refuses.
    """
    if len(deployments) == 1:
        with opening(Path(deployments[0]), display.part) as only:
            yield only
        return
    progress = StepProgress(display.part)
    with ExitStack() as stack:
        groups = []
        for number, path in enumerate(deployments):
            try:
                engine = stack.enter_context(opening(Path(path), progress.of(number)))
            except ServiceError as error:
                raise GroupError(f"group {path}: {error}; without it, give the other --deployment alone") from None
            groups.append(Group(path, engine))
        grouped = GroupedEngine(groups, progress, display.note)
        stack.callback(grouped.leave)
        yield grouped
