"""Text from outside: JSON that may be anything, and strings that are no text."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

LONE = re.compile("[\ud800-\udfff]")
"""Half of a character beyond U+FFFF: strings of JSON and command lines can hold one, UTF-8 cannot."""


def lone_surrogate(text: str) -> int | None:
    """Where a string is no text, from 0; None: nowhere."""
    found = LONE.search(text)
    return found.start() if found else None


def parse_json(text: str | bytes) -> Any:
    """`json.loads` that raises ValueError for all that it cannot read, and says what that is."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError(f"it has a number of more than {sys.get_int_max_str_digits()} digits") from None
