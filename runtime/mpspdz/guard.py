"""Run a program that must not outlive the process that started it: `guarded(command)`.

Run as a file (no package, no site: it starts in milliseconds) it asks the kernel to be killed with its parent, and
becomes the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


def guarded(command: list[str]) -> list[str]:
    """The command line that runs `command` for as long as this process, however it ends. To be started by the main
    thread: Linux takes the end of the starting thread for the end of the parent.
    """
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), str(os.getpid()), *command]  # noqa: PTH100


def main() -> None:
    """Become the command, unless the parent has gone already."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == parent:
        try:
            os.execv(command[0], command)
        except OSError as error:
            sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
