"""How a private adapter is asked about."""

from __future__ import annotations

from typing import Annotated, Literal

from ...codegen.commandline.options import ENGINE, Option
from .encryption.batch import TOKENS

Encryption = Annotated[
    Literal["ahead", "online"],
    Option(
        f"Of --engine split. ahead: masks are made for {TOKENS:,} rows at a time, questions are answered at once. "
        "online: nothing is made ahead, a row's answer takes longer.",
        ENGINE,
    ),
]
