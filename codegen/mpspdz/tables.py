"""Tables of the documentation that follow from the rows of `protocols.py`."""

from __future__ import annotations

from collections.abc import Sequence

from .protocols import PROTOCOLS, Protocol


def promises() -> str:
    """Against whom each protocol holds, and what a party runs."""
    columns = ("`--protocol`", "parties", "corrupted at most", "adversary", "party program")
    return _table(
        columns,
        [
            (f"`{name}`", parties(row), str(row.corruptions), row.adversary, f"`{row.program}`")
            for name, row in PROTOCOLS.items()
        ],
    )


def ways() -> str:
    """How each protocol takes the steps that kernels are built of; protocols that take all alike share a line."""
    columns = (
        "`--protocol`",
        "cos, sin",
        "GELU, SiLU, tanh, softplus, softmax weights",
        "truncation",
        "comparison",
        "private input",
    )
    names: dict[tuple[str, ...], list[str]] = {}
    for name, row in PROTOCOLS.items():
        steps = (_cos_sin(row), _bent(row), _truncation(row), _comparison(row), _input(row))
        names.setdefault(steps, []).append(f"`{name}`")
    return _table(columns, [(", ".join(alike), *steps) for steps, alike in names.items()])


def parties(row: Protocol) -> str:
    """How many there are."""
    return f"{row.parties - 1} and a dealer" if row.dealer else str(row.parties)


def _cos_sin(row: Protocol) -> str:
    if row.masked_openings:
        return "masked opening"
    return "comparison and series" if row.trunc_pr else "by the bits of a mask"


def _bent(row: Protocol) -> str:
    return "masked opening" if row.masked_openings else "comparisons and series"


def _truncation(row: Protocol) -> str:
    return "one instruction" if row.trunc_pr else "opened under random bits"


def _comparison(row: Protocol) -> str:
    if row.edabit:
        return "edaBits"
    return f"{row.split} shares split into bits" if row.split else "against random bits"


def _input(row: Protocol) -> str:
    return "checked triple" if row.active else "random element"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(line)} |" for line in (columns, *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])
