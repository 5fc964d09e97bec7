"""`secfwt-party`: one computing party on its own host, of either engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.options import ENGINE, Option
from ..parties.deployment import Deployment
from ..tuning.options import MpSpdzFolder
from .shared import BundleFolder, DeploymentFile


@dataclass(frozen=True)
class PartyOptions:
    """Which party this host is, and of what."""

    deployment: DeploymentFile
    party: Annotated[int, Option("Which of them this host is.", ENGINE, at_least=0)]
    bundle: BundleFolder
    """Only its public part is needed."""
    mp_spdz: MpSpdzFolder = ""


COMMAND = Command(
    "secfwt-party",
    (PartyOptions,),
    "Run one computing party, of the embedded engine or of MP-SPDZ as the deployment says, until it is ended.",
    "secfwt-party --deployment deployment.toml --party 0 --bundle bundle",
)


def run_party(deployment: Deployment, party: int, bundle: Path, mp_spdz: str = "") -> NoReturn:
    """Become that party. Raises PartyError, BinaryMissing, and what `mpspdz.supervisor.serve` raises."""
    from ..embedded.processes import PartyError, become_party, vm_command

    if party >= len(deployment.parties):
        raise PartyError(f"--party is {party}: the deployment has parties 0 to {len(deployment.parties) - 1}")
    if deployment.engine == "mp-spdz":
        from ..mpspdz.supervisor import serve

        serve(deployment, party, bundle, mp_spdz)
    if mp_spdz:
        raise PartyError(f"--mp-spdz is {mp_spdz}: the deployment's engine is embedded")
    become_party(vm_command(deployment, party, bundle / "public" / "program.txt"))


def party_command(typed: Typed) -> None:
    """Run the party that was asked for."""
    options = typed.make(PartyOptions)
    run_party(Deployment.load(options.deployment), options.party, options.bundle, options.mp_spdz)


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-party`."""
    COMMAND.run(party_command, words)


if __name__ == "__main__":
    main()
