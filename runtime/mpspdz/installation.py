"""An installation of MP-SPDZ: where it is and what it can run. The project neither contains nor builds it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...codegen.mpspdz.protocols import PROTOCOLS
from ...codegen.native.binaries import places
from ..errors import SecfwtError

DOCUMENTATION = "https://mp-spdz.readthedocs.io/"
SUPPORTED = "0.4"
"""Release series the generated programs are written and tested for."""


class MpSpdzError(SecfwtError):
    """MP-SPDZ or a part of it is missing, or its compiler refused a program; the message says what to do."""


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
        """MP-SPDZ's own party program of a protocol; raises `MpSpdzError` where it has not been built."""
        if protocol not in self.protocols:
            built = ", ".join(self.protocols) or "none"
            raise MpSpdzError(
                f"MP-SPDZ at {self.root} has no {PROTOCOLS[protocol].program} for protocol {protocol} "
                f"(built: {built}); see {DOCUMENTATION} on compiling it"
            )
        return self.root / PROTOCOLS[protocol].program


def candidates(given: str | None = None, environment: Mapping[str, str] | None = None) -> list[Path]:
    """Where an installation is looked for, in order; a place named by option or variable is the only one."""
    environment = os.environ if environment is None else environment
    named = given or environment.get("MP_SPDZ_HOME")
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path's own fails for a user id that has no home)
    if named:
        return [home / named[2:] if named.startswith("~/") else Path(named)]
    return [*([home / "MP-SPDZ"] if home.is_absolute() else []), Path("/opt/MP-SPDZ")]


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
    built = tuple(name for name, row in PROTOCOLS.items() if os.access(root / row.program, os.X_OK))
    return Installation(root, _version(root), _commit(root), built)


def find_party(installation: Installation, protocol: str) -> Path:
    """The party program that runs a protocol: the project's own `secfwt-<program>` where it was built, else MP-SPDZ's.

    Raises `MpSpdzError` where there is neither.
    """
    return own_party(protocol) or installation.party(protocol)


def own_party(protocol: str) -> Path | None:
    """The project's party program of a protocol: MP-SPDZ's virtual machine linked with the project's ring kernels."""
    for place in places():
        program = place / f"secfwt-{PROTOCOLS[protocol].program}"
        if os.access(program, os.X_OK):
            return program
    return None


def describe(installation: Installation) -> str:
    """A few lines for a person: version, commit, place, party programs, and what is missing."""
    lines = [f"{installation.version} (commit {installation.commit}) at {installation.root}"]
    if not installation.supported:
        lines.append(f"warning: the project is tested with {SUPPORTED}.x only")
    built = [f"{name} (with the project's kernels)" if own_party(name) else name for name in installation.protocols]
    lines.append(f"protocols built: {', '.join(built) or 'none'}")
    if missing := [row.program for name, row in PROTOCOLS.items() if name not in installation.protocols]:
        lines.append(f"not built: {', '.join(missing)}; see {DOCUMENTATION}")
    return "\n".join(lines)


def _version(root: Path) -> str:
    changelog = root / "CHANGELOG.md"
    found = (
        re.search(r"^## v?([\d.]+)", changelog.read_text("utf-8", "replace"), re.MULTILINE)
        if changelog.is_file()
        else None
    )
    return found.group(1) if found else "unknown"


def _commit(root: Path) -> str:
    if not (root / ".git").exists() or shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
