"""Model plan to MP-SPDZ program text.

The template prints the calls that `calls` chooses; the kernels (`mpc_programs/lib`) hold the arithmetic. What
depends on examples alone runs once, when a tile of them arrives; what depends on candidates as well takes several tiles
at once, each under one candidate. Equal encoder layers become one call on stacked weights.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..plan.graph import Plan
from .calls import translate
from .options import MpSpdzOptions
from .protocols import PROTOCOLS

IDENTITY = re.compile(r"^    identity=\[([\d, ]+)\],$", re.MULTILINE)


def render(plan: Plan, options: MpSpdzOptions, *, version: str, source_hash: str, command: str) -> str:
    """Text of `program.mpc`. Deterministic. Raises `ProblemsFound` for what this target cannot do.

    `source_hash` is that of the generator's input; it and `command` go into the header.
    """
    program = translate(plan, options)
    template = environment().get_template("program.mpc.j2")
    names = {
        "program": program, "options": options, "protocol": PROTOCOLS[options.protocol],
        "version": version, "source_hash": source_hash, "command": command,
    }  # fmt: skip
    return template.render(names, identity=_digest(template.render(names, identity=())))


def identity(text: str) -> list[int]:
    """The words that a program of this text says and expects first: its hash.

    Raises ValueError where they are not that of the text.
    """
    found = IDENTITY.search(text)
    words = [int(word) for word in found.group(1).split(",")] if found else []
    if words != _digest(IDENTITY.sub("    identity=[],", text)):
        raise ValueError("it is not as secfwt-gen wrote it: its text does not have the hash that it names")
    return words


def _digest(text: str) -> list[int]:
    digest = hashlib.sha256(text.encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]


def environment() -> Environment:
    """Of programs: nothing is escaped. Templates lie beside the package, in the source tree and installed."""
    folder = Path(__file__).resolve().parents[2] / "templates"
    result = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    result.filters["literal"] = repr
    return result
