"""`secfwt-doctor`: what of the project and of MP-SPDZ is there, and what is missing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ..mpspdz.compiler import compile_program
from ..mpspdz.installation import DOCUMENTATION, Installation, MpSpdzError, describe, find
from ..parties import binaries

WIDTH = 10
PROBE = "from lib import service\n"


def report(given: str = "") -> tuple[str, bool]:
    """Lines for a person, and whether nothing is missing; MP-SPDZ may be, unless its folder was `given`."""
    complete = True
    try:
        embedded = binaries.describe()
    except binaries.BinaryMissing as error:
        embedded, complete = str(error), False
    try:
        installation = find(given or None)
        mp_spdz = f"{describe(installation)}\n{_compiler(installation)}"
    except MpSpdzError as error:
        mp_spdz, complete = f"{error}\nonly --engine mp-spdz needs it", complete and not given
    return _entry("embedded", embedded) + _entry("MP-SPDZ", mp_spdz), complete


def _compiler(installation: Installation) -> str:
    """Whether the compiler runs and finds the kernel library."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.mpc"
        source.write_text(PROBE)
        try:
            compile_program(installation, source, Path(folder), "ring", seconds=60)
        except MpSpdzError as error:
            return f"compiler does not run: {error}; see {DOCUMENTATION}"
        except (OSError, subprocess.SubprocessError) as error:
            return f"compiler cannot be started: {error}; see {DOCUMENTATION}"
    return f"compiler runs under Python {sys.version.split()[0]}"


def _entry(name: str, text: str) -> str:
    first, *rest = text.splitlines()
    return "".join(f"{head:<{WIDTH}}{line}\n" for head, line in [(name, first), *(("", line) for line in rest)])


def main() -> None:
    """Entry point of `secfwt-doctor`."""

    def doctor(
        mp_spdz: Annotated[
            str, typer.Option(help="Folder of MP-SPDZ. Default: MP_SPDZ_HOME, ~/MP-SPDZ or /opt/MP-SPDZ.")
        ] = "",
    ) -> None:
        """Say what is installed, which engines and protocols can run, and what is missing."""
        text, complete = report(mp_spdz)
        print(text, end="")
        raise typer.Exit(0 if complete else 2)

    typer.run(doctor)


if __name__ == "__main__":
    main()
