"""`secfwt-certs`: the certificates of a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.options import ENGINE, RUN, Option, check
from ..parties.roles import clients_of, wrong_names


@dataclass(frozen=True)
class CertificateOptions:
    """Whose certificates, where, for how long."""

    folder: Annotated[Path, Option("Folder for the set; made if missing.", RUN, ("DIR",))]
    days: Annotated[int, Option("Days that the certificates are valid.", RUN, at_least=1)] = 825
    parties: Annotated[
        int, Option("Parties: the protocol's number; 1: an adapter's server.", ENGINE, at_least=1, at_most=4)
    ] = 3

    owners: Annotated[
        tuple[str, ...],
        Option(
            "Several data owners in place of one: their names, separated by commas.", ENGINE, separator=",",
            default="data-owner",
        ),
    ] = ()  # fmt: skip
    coordinator: Annotated[str, Option("Of several data owners: who runs the search, one of them or not.", ENGINE)] = (
        "coordinator"
    )

    def __post_init__(self) -> None:
        report = check(self)
        for problem in wrong_names(self.owners, self.coordinator):
            report.error(problem)
        report.check()

    @property
    def clients(self) -> tuple[str, ...]:
        """Whose certificates these are, besides the parties'."""
        return clients_of(self.owners, self.coordinator)


COMMAND = Command(
    "secfwt-certs",
    (CertificateOptions,),
    "Make the certificates of a deployment: an authority, the parties, model owner, data owner (or several).",
    "secfwt-certs certificates",
)


def certificates_command(typed: Typed) -> None:
    """Make a set, or say that it is there."""
    from ..parties.certificates import key_pin, make_certificates, names, read_certificate

    options = typed.make(CertificateOptions)
    made = make_certificates(options.folder, options.days, options.parties, options.clients)
    print(f"certificates: {options.folder} ({'made' if made else 'already there'})")
    print("[pins]  # for the deployment file, so that it does not matter who has ca.key (embedded engine)")
    for name in names(options.parties, options.clients):
        if (certificate := options.folder / f"{name}.pem").is_file():
            print(f'{name} = "{key_pin(read_certificate(certificate))}"')


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-certs`."""
    COMMAND.run(certificates_command, words)


if __name__ == "__main__":
    main()
