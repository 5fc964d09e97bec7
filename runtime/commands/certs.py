"""`secfwt-certs`: the certificates of a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import reported
from ..parties.certificates import DAYS, PARTIES, make_certificates


def main() -> None:
    """Entry point of `secfwt-certs`."""

    def certs(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the set; made if missing.")],
        days: Annotated[int, typer.Option(min=1, help="Days the certificates are valid.")] = DAYS,
        parties: Annotated[int, typer.Option(min=2, max=4, help="Parties: the protocol's number.")] = PARTIES,
    ) -> None:
        """Make the certificates of a deployment: an authority, the parties, model owner, data owner."""
        with reported():
            made = make_certificates(folder, days, parties)
            print(f"certificates: {folder} ({'made' if made else 'already there'})")

    typer.run(certs)


if __name__ == "__main__":
    main()
