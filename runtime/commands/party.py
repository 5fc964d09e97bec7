"""`secfwt-party`: one computing party on its own host, of either engine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..embedded.processes import PartyError, vm_command
from ..errors import reported
from ..parties.deployment import Deployment


def run_party(deployment: Deployment, party: int, bundle: Path, mp_spdz: str = "") -> NoReturn:
    """Become that party. Raises PartyError, BinaryMissing, and what `mpspdz_party.serve` raises."""
    if party >= len(deployment.parties):
        raise PartyError(f"--party is {party}: the deployment has parties 0 to {len(deployment.parties) - 1}")
    if deployment.engine == "mp-spdz":
        from ..mpspdz.supervisor import serve

        serve(deployment, party, bundle, mp_spdz)
    if mp_spdz:
        raise PartyError(f"--mp-spdz is {mp_spdz}: the deployment's engine is embedded")
    command = vm_command(deployment, party, bundle / "public" / "program.txt")
    os.execv(command[0], command)


def main() -> None:
    """Entry point of `secfwt-party`."""

    def party(
        deployment: Annotated[Path, typer.Option(help="TOML file that describes the parties.")],
        party: Annotated[int, typer.Option(min=0, help="Which of them this host is.")],
        bundle: Annotated[Path, typer.Option(help="Bundle that secfwt-gen wrote; only its public part is needed.")],
        mp_spdz: Annotated[
            str, typer.Option(help="Folder of MP-SPDZ. Default: MP_SPDZ_HOME, ~/MP-SPDZ or /opt/MP-SPDZ.")
        ] = "",
    ) -> None:
        """Run one computing party, of the embedded engine or of MP-SPDZ as the deployment says, until it is ended."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with reported():
            run_party(Deployment.load(deployment), party, bundle, mp_spdz)

    typer.run(party)


if __name__ == "__main__":
    main()
