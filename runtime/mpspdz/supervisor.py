"""One party of MP-SPDZ on its own host: compiles the bundle's program, then serves session after session.

MP-SPDZ's virtual machine ends with a session, and with its first error. Its supervisor starts it again: the next owners
find it ready.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from ..errors import SecfwtError, ServiceError
from ..parties.deployment import Deployment
from .bundle import open_program
from .certificates import FOLDER, link_certificates
from .compiler import compile_program
from .installation import find, find_party
from .machines import CHECK_SECONDS, STALL_SECONDS, MpSpdzParties

PAUSE = 1.0
"""Seconds between the end of a virtual machine and the start of the next."""
NOBODY = "timed out while waiting for client"
LOG = re.compile(r" \(logs?: .*\)$")


class PortError(SecfwtError):
    """A port that another program listens on."""


def serve(deployment: Deployment, party: int, bundle: Path, given: str = "") -> NoReturn:
    """Run a party until this process is ended; what happens goes to the standard error stream, a line each.

    `given`: MP-SPDZ's folder, where it is not in the usual places. Raises BundleError, ProblemsFound, MpSpdzError,
    CertificateError, PortError before the first session, none later.
    """
    program = open_program(bundle, deployment)
    protocol = program.options.protocol
    installation = find(given or None)
    binary = find_party(installation, protocol)
    address = deployment.parties[party]
    for port in (address.port, address.client_port):
        _check_port(party, port)
    if deployment.threads:
        os.environ["SECFWT_THREADS"] = str(deployment.threads)  # of the project's own party programs
    with TemporaryDirectory(prefix="secfwt-party-") as name:
        folder = Path(name)
        (folder / FOLDER).mkdir(mode=0o700)
        link_certificates(deployment.certificates, folder / FOLDER, [party])
        compiled = compile_program(installation, program.source, folder, protocol)
        who = f"party {party}: "
        _say(f"{who}{binary.name} waits for clients on port {address.client_port}")
        trouble = ""
        while True:
            running = MpSpdzParties(
                binary, protocol, compiled.name, folder, folder,
                batch=compiled.batch, addresses=deployment.parties, only=party,
                stall=deployment.stall_timeout or STALL_SECONDS,
            )  # fmt: skip
            try:
                _say(who + _session(running))
                trouble = ""
            except ServiceError as error:
                before, trouble = trouble, LOG.sub("", str(error))
                if trouble != before and NOBODY not in trouble:
                    _say(trouble)
            time.sleep(PAUSE)


def _session(running: MpSpdzParties) -> str:
    """From start to end; what the session has cost this party."""
    with running:
        while running.wait(CHECK_SECONDS) != [0]:
            if not running.commanded and running.stopped is None:
                running.idle()  # it waits for clients
            running.check(may_end=True)
    cost = running.cost(0)
    return f"session over: {cost.seconds:.1f} s computing, {cost.bytes_sent / 1e6:.1f} MB sent, {cost.rounds} rounds"


def _check_port(party: int, port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError as error:
            raise PortError(f"party {party} cannot listen on port {port}: {error.strerror}") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
