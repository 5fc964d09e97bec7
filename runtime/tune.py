#!/usr/bin/env python3
"""Tune a prompt on private data with a private model: `runtime/tune.py` from a checkout, `secfwt-tune` installed.

Run as a file, it hands over to the project's own environment, which ./build.sh makes; nothing has to be activated.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of `secfwt-tune`."""
    import sys

    try:
        from secfwt.runtime.commands.tune import main as command

        command()
    except KeyboardInterrupt:  # before the command has begun, or after it is done
        sys.exit(130)


def enter_environment(command: str) -> None:
    """Replace this process by a command of this folder under the checkout's `.venv`; exit code 2 when there is none."""
    import sys

    del sys.path[0]  # this folder: its modules would hide others of the same name
    import os

    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
    python = os.path.join(root, ".venv", "bin", "python")  # noqa: PTH118
    if not os.path.exists(python):  # noqa: PTH110
        print(f"error: there is no environment in {root}/.venv: run {root}/build.sh first", file=sys.stderr)
        sys.exit(2)
    # PYTHONSAFEPATH: the current directory must not hide modules either.
    os.execve(python, [python, "-m", f"secfwt.runtime.{command}", *sys.argv[1:]], {**os.environ, "PYTHONSAFEPATH": "1"})


if __name__ == "__main__":
    if __package__:
        main()
    else:
        enter_environment("tune")
