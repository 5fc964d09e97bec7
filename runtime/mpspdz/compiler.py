"""Compiling a generated program with an installation's compiler."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ...codegen.mpspdz.batches import batch_size
from ...codegen.mpspdz.protocols import PROTOCOLS
from .guard import guarded
from .installation import Installation, MpSpdzError

LIBRARY = Path(__file__).resolve().parents[2] / "mpc_programs"
"""Holds the kernel library `lib` that programs import; beside this package in the source tree and installed."""
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Compiled:
    """What the compiler said of a program."""

    name: str
    folder: Path
    """Working directory: holds `Programs/Bytecode` and `Programs/Schedules`."""
    seconds: float
    hash: str
    """MP-SPDZ's own hash of the bytecode."""
    megabytes: float
    """Expected online communication of all parties; 0 where the compiler gave none."""
    batch: int
    """Size of a preprocessing batch for the parties (`-b`)."""
    log: str


def compile_program(
    installation: Installation, source: Path, folder: Path, protocol: str, *options: str, seconds: float = MAX_SECONDS
) -> Compiled:
    """Compile `source` for a protocol; `folder` becomes the working directory of compiler and parties.

    One compiler a process and a folder: its state is global. Raises `MpSpdzError` with the line of the program that it
    refused, or after `seconds`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(installation.root / "compile.py"), "-E", protocol, *options, str(source.resolve())]
    # The compiler's modules lie beside it, where a safe path does not look; it is not made to run without docstrings.
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONOPTIMIZE")}
    environment = {**inherited, "PYTHONPATH": str(LIBRARY), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    began = time.monotonic()
    try:
        done = subprocess.run(
            guarded(command),
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise MpSpdzError(f"MP-SPDZ's compiler was not done with {source.name} after {seconds:.0f} s") from None
    log = done.stdout + done.stderr
    if done.returncode:
        raise MpSpdzError(f"MP-SPDZ's compiler refused {source.name} for {protocol}: {complaint(log, source)}")
    expected = re.search(r"Expected communication is ([\d.e+]+) MB online", log)
    digest = re.search(r"^Hash: (\w+)", log, re.MULTILINE)
    return Compiled(
        name=source.stem, folder=folder, seconds=time.monotonic() - began, hash=digest.group(1) if digest else "",
        megabytes=float(expected.group(1)) if expected else 0.0, batch=batch_size(log, PROTOCOLS[protocol]), log=log,
    )  # fmt: skip


def complaint(log: str, source: Path) -> str:
    """The last line of a compiler's output, and the line of the program that it is about where it says so."""
    lines = [line for line in log.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it gave no reason"
    numbers = re.findall(rf'File "[^"]*{re.escape(source.name)}", line (\d+)', log)
    if not numbers:
        return last
    text = source.read_text(encoding="utf-8").splitlines()
    number = int(numbers[-1])
    return f"{last}\n  {source.name}:{number}: {text[number - 1].strip() if number <= len(text) else ''}"
