"""How a private adapter is asked about."""

from __future__ import annotations

from typing import Annotated, Literal

from ...codegen.commandline.options import ENGINE, Option

Encryption = Annotated[
    Literal["ahead", "online"],
    Option(
        "Of --engine split. ahead: masks are made for 8,192 rows at a time, questions are answered at once. online: "
        "nothing is made ahead, a row's answer takes longer.",
        ENGINE,
    ),
]
