"""An installation of MP-SPDZ: where it is, what it can run, and compiling for it. The project neither contains nor
builds it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DOCUMENTATION = "https://mp-spdz.readthedocs.io/"
SUPPORTED = "0.4"
"""Release series the generated programs are written and tested for."""

LIBRARY = Path(__file__).resolve().parent.parent / "mpc_programs"
"""Holds the kernel library `lib` that programs import; beside this package in the source tree and installed."""

PARTIES = {
    "ring": "replicated-ring-party.x",
    "rep4-ring": "rep4-ring-party.x",
    "ps-rep-ring": "ps-rep-ring-party.x",
    "sy-rep-ring": "sy-rep-ring-party.x",
    "semi2k": "semi2k-party.x",
    "dealer-ring": "dealer-ring-party.x",
}
"""Party program of every protocol that the generator knows, by the compiler's name for the protocol (`compile.py
-E`).
"""


class MpSpdzError(Exception):
    """MP-SPDZ is missing, or its compiler refused a program; the message says what to do."""


@dataclass(frozen=True)
class Installation:
    """A folder with MP-SPDZ's compiler."""

    root: Path
    version: str
    """Newest release in its changelog, `unknown` if that cannot be read."""
    commit: str
    """First twelve digits of the commit, `unknown` for a release archive."""
    protocols: tuple[str, ...]
    """Protocols whose party program has been built."""

    @property
    def supported(self) -> bool:
        """Whether the version is of the series the project is tested with."""
        return self.version.startswith(f"{SUPPORTED}.")

    def party(self, protocol: str) -> Path:
        """The party program of a protocol; raises `MpSpdzError` where it has not been built."""
        if protocol not in self.protocols:
            built = ", ".join(self.protocols) or "none"
            raise MpSpdzError(
                f"MP-SPDZ at {self.root} has no {PARTIES.get(protocol, protocol)} for protocol {protocol} "
                f"(built: {built}); see {DOCUMENTATION} on compiling it"
            )
        return self.root / PARTIES[protocol]


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
    log: str


def candidates(given: str | None = None, environment: Mapping[str, str] | None = None) -> list[Path]:
    """Where an installation is looked for, in order; a place named by option or variable is the only one."""
    environment = os.environ if environment is None else environment
    named = given or environment.get("MP_SPDZ_HOME")
    return [Path(named).expanduser()] if named else [Path.home() / "MP-SPDZ", Path("/opt/MP-SPDZ")]


def find(given: str | None = None, environment: Mapping[str, str] | None = None) -> Installation:
    """The first installation among `candidates`; raises `MpSpdzError` naming the places and where to get it."""
    places = candidates(given, environment)
    for root in places:
        if (root / "compile.py").is_file() and (root / "Compiler").is_dir():
            return inspect(root)
    looked = " and ".join(str(p) for p in places)
    raise MpSpdzError(
        f"no MP-SPDZ at {looked}; install it as {DOCUMENTATION} says and name its folder with --mp-spdz or MP_SPDZ_HOME"
    )


def inspect(root: Path) -> Installation:
    """Read version, commit and party programs of an existing folder."""
    built = tuple(name for name, program in PARTIES.items() if os.access(root / program, os.X_OK))
    return Installation(root, _version(root), _commit(root), built)


def describe(given: str | None = None) -> str:
    """A few lines for a person: the installation, its version and party programs, or what is missing and where to
    get it.
    """
    try:
        installation = find(given)
    except MpSpdzError as error:
        return f"MP-SPDZ     not found: {error}"
    lines = [f"MP-SPDZ     {installation.version} (commit {installation.commit}) at {installation.root}"]
    if not installation.supported:
        lines.append(f"            warning: tested with {SUPPORTED}.x only")
    missing = [name for name in PARTIES if name not in installation.protocols]
    lines.append(f"            protocols built: {', '.join(installation.protocols) or 'none'}")
    if missing:
        lines.append(f"            not built: {', '.join(PARTIES[name] for name in missing)}; see {DOCUMENTATION}")
    return "\n".join(lines)


def compile_program(installation: Installation, source: Path, folder: Path, protocol: str, *options: str) -> Compiled:
    """Compile `source` for a protocol; `folder` becomes the working directory of compiler and parties.

    One compiler a process and a folder: its state is global. Raises `MpSpdzError` with the last lines of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(installation.root / "compile.py"), "-E", protocol, *options, str(source.resolve())]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "PYTHONDONTWRITEBYTECODE": "1"}
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    log = done.stdout + done.stderr
    if done.returncode:
        tail = "\n".join(log.strip().splitlines()[-12:])
        raise MpSpdzError(f"MP-SPDZ's compiler refused {source.name} for {protocol}:\n{tail}")
    expected = re.search(r"Expected communication is ([\d.e+]+) MB online", log)
    digest = re.search(r"^Hash: (\w+)", log, re.MULTILINE)
    return Compiled(
        name=source.stem, folder=folder, seconds=time.monotonic() - start, hash=digest.group(1) if digest else "",
        megabytes=float(expected.group(1)) if expected else 0.0, log=log,
    )  # fmt: skip


def _version(root: Path) -> str:
    changelog = root / "CHANGELOG.md"
    found = re.search(r"^## v?([\d.]+)", changelog.read_text(), re.MULTILINE) if changelog.is_file() else None
    return found.group(1) if found else "unknown"


def _commit(root: Path) -> str:
    if not (root / ".git").exists() or shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    print(describe())
