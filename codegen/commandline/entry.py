"""Where an installed command begins: nothing that takes time is imported before Ctrl-C is answered as it should be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

INTERRUPTED = 130


def entry(module: str) -> Callable[[], None]:
    """An entry point: imports a module and calls its `main`. Exits with code 130 for Ctrl-C meanwhile, as `exit_codes`
    does later."""

    def begin() -> None:
        try:
            import_module(module).main()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    return begin


gen = entry(f"{__name__.rsplit('.', 2)[0]}.cli")
