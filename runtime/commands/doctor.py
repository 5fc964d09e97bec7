"""`secfwt-doctor`: what of the project and of MP-SPDZ is there, and what is missing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import ldexp
from pathlib import Path
from typing import Annotated

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.options import RUN, Option
from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.native import binaries
from ...codegen.ring.header import OutputSpec, ProgramTextError, read_program
from ..embedded.reach import Reach, reach
from ..mpspdz.compiler import compile_program
from ..mpspdz.installation import DOCUMENTATION, Installation, MpSpdzError, describe, find
from ..parties.deployment import Deployment
from ..tuning.options import MpSpdzFolder

WIDTH = 10
PROBE = "from lib import service\n"


@dataclass(frozen=True)
class DoctorOptions:
    """Where to look."""

    mp_spdz: MpSpdzFolder = ""
    program: Annotated[
        str,
        Option(
            "Also say what the outputs of this program.txt open: the inputs that reach each without a non-linearity.",
            RUN,
            metavar="FILE",
            path=True,
            default="none",
        ),
    ] = ""
    deployment: Annotated[
        str,
        Option(
            "Also say who a deployment's data owners are, where it names several.", RUN, metavar="FILE", path=True,
            default="none",
        ),
    ] = ""  # fmt: skip


COMMAND = Command(
    "secfwt-doctor",
    (DoctorOptions,),
    "Say what is installed, which engines and protocols can run, and what is missing.",
    "secfwt-doctor --program bundle/public/program.txt",
)


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


def opened(program: str) -> str:
    """What a program's outputs open, for the operators of the parties that will run it. Raises ProblemsFound."""
    try:
        outputs, header = reach(Path(program)), read_program(Path(program))
    except ProgramTextError as error:
        raise ProblemsFound([Problem("error", f"--program is {program}", str(error))]) from None
    return "".join(
        _entry("output", f"{name}: {_shown(value)}{_more(header.output(name)[1])}") for name, value in outputs.items()
    )


def owners(path: str) -> str:
    """Whose examples a deployment's sums are over, and who gets them. Raises DeploymentError."""
    deployment = Deployment.load(Path(path))
    named = deployment.data_owners
    if not named:
        return _entry("owners", "one data owner, who runs the search itself")
    return _entry("owners", f"{len(named)} data owners: {', '.join(named)}; coordinator: {deployment.coordinator}")


def _more(output: OutputSpec) -> str:
    said = ""
    if output.min_owners:
        said += f"; opened to the coordinator, of sums over {output.min_owners} other data owners' examples at least"
    if output.noise is not None:
        said += f"; each party adds noise of standard deviation {ldexp(output.noise, -output.scale):.4g}"
    return said


def _shown(value: Reach) -> str:
    rest = "the rest is behind non-linearities" if value.mixed else "nothing else: it opens a polynomial of them"
    if not value.direct:
        return "all inputs are behind non-linearities" if value.mixed else "no input at all"
    return f"{', '.join(sorted(value.direct))} without a non-linearity; {rest}"


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


def doctor_command(typed: Typed) -> int:
    """Print the report; code 2 where something is missing."""
    options = typed.make(DoctorOptions)
    outputs = opened(options.program) if options.program else ""
    outputs += owners(options.deployment) if options.deployment else ""
    text, complete = report(options.mp_spdz)
    print(text + outputs, end="")
    return 0 if complete else 2


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-doctor`."""
    COMMAND.run(doctor_command, words)


if __name__ == "__main__":
    main()
