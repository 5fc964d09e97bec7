"""Who is who in a deployment besides its parties: the names of owners and of the coordinator of several."""

from __future__ import annotations

import re
from collections.abc import Sequence

CLIENTS = ("model-owner", "data-owner")
"""Where there is one data owner."""
NAME = re.compile("[a-z][a-z0-9-]{0,39}")
RESERVED = re.compile("ca|model-owner|data-owner|party[0-9]*")
MOST_OWNERS = 64
"""Data owners of a deployment: each has a bit of a word in a step."""


def clients_of(owners: Sequence[str] = (), coordinator: str = "") -> tuple[str, ...]:
    """The clients of a deployment; `owners`: several data owners, whom the coordinator, perhaps one of them, asks."""
    return tuple(dict.fromkeys(("model-owner", *owners, coordinator))) if owners else CLIENTS


def wrong_names(owners: Sequence[str], coordinator: str) -> list[str]:
    """What is wrong with the names of several data owners and their coordinator; nothing where there is one owner."""
    if not owners:
        return []
    problems = [f"{name} is named twice" for name in sorted({n for n in owners if owners.count(n) > 1})]
    for name in dict.fromkeys((*owners, coordinator)):
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            problems.append(
                f"{name!r} is no name of an owner: expected a letter and up to 39 more of a-z, 0-9 and -, and neither "
                "ca, model-owner, data-owner nor a party's"
            )
    if len(owners) < 2 or len(owners) > MOST_OWNERS:
        problems.append(
            f"{len(owners)} data owners are named: several are 2 to {MOST_OWNERS}; a single one needs no name"
        )
    return problems
