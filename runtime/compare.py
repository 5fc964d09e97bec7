#!/usr/bin/env python3
"""Compare protocols on one step of tuning: `runtime/compare.py` from a checkout, `secfwt-compare` installed.

Run as a file, it hands over to the project's own environment, as `tune.py` does.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of `secfwt-compare`."""
    import sys

    try:
        from secfwt.runtime.commands.compare import main as command

        command()
    except KeyboardInterrupt:  # before the command has begun, or after it is done
        sys.exit(130)


if __name__ == "__main__":
    if __package__:
        main()
    else:
        from tune import enter_environment  # type: ignore[import-not-found]  # beside this file

        enter_environment("compare")
