"""Party processes of this machine: started by a subclass, ended together."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ...codegen.commandline.ending import ENDING
from ..closing import Closing

STOP_SECONDS = 5.0
"""How long processes that were asked to end may take."""


class PartyProcesses(Closing):
    """Processes for as long as the context lasts."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def start(self) -> None:
        """Start all of them, or none."""

    @property
    def pids(self) -> list[int]:
        """Process ids, party 0 first."""
        return [process.pid for process in self._processes]

    def wait(self, seconds: float) -> list[int | None]:
        """Exit codes; None for a party that is still running after that time."""
        deadline = time.monotonic() + seconds
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                break
        return [process.poll() for process in self._processes]

    def close(self) -> None:
        """End the parties that are still running."""
        for process in self._processes:
            process.terminate()
        if None in self.wait(STOP_SECONDS):
            for process in self._processes:
                process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

    def __enter__(self) -> Self:
        self.start()
        return super().__enter__()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Closing takes a moment, which a second Ctrl-C must not cut short; that reaches the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *ENDING)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
