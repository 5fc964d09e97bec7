"""Entry points of the commands of this folder."""

from __future__ import annotations

from ...codegen.commandline.entry import entry

FOLDER = __name__.rpartition(".")[0]

certs, convert, doctor, evaluate, export, generate, party, predict, weights = (
    entry(f"{FOLDER}.{name}")
    for name in ("certs", "convert", "doctor", "evaluate", "export", "generate", "party", "predict", "weights")
)
join = entry(f"{FOLDER.rpartition('.')[0]}.federation.command")
adapter = entry(f"{FOLDER.rpartition('.')[0]}.split.serving")
