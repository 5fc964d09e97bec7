"""Errors of libraries in Rust (safetensors, tokenizers): what the system refused is in their text alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

SYSTEM = re.compile(r"\(os error (\d+)\)")


@contextmanager
def system_errors() -> Iterator[None]:
    """Let what the system refused be an OSError, as it is everywhere else."""
    try:
        yield
    except Exception as error:  # tokenizers raises nothing more exact
        found = None if isinstance(error, OSError) else SYSTEM.search(str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number)) from error
