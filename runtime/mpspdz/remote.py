"""Parties of MP-SPDZ on hosts of their own, as the two owners use them.

A session takes both owners: the parties wait for the model's weights and for the data owner, and start again when the
session is over. So each owner tries until the other is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ...codegen.mpspdz.protocols import PROTOCOLS
from ...mpc_programs.lib.wire import DATA_OWNER, MODEL_OWNER
from ..engine import Cost, Progress
from ..errors import ServiceError
from ..parties.deployment import Deployment
from ..parties.processes import uninterrupted
from .bundle import BundleProgram, bundle_weights, open_program
from .client import MpSpdzClient
from .engine import MpSpdzEngine
from .inputs import weight_words

PATIENCE = 600.0
"""Seconds to wait for parties and the other owner."""
CONNECT_SECONDS = 60.0
PAUSE = 1.0
Note = Callable[[str], None]
T = TypeVar("T")


class RemoteParties:
    """What the engine knows of parties elsewhere: nothing, their costs are in their own logs."""

    def idle(self) -> None:
        """Each party is watched over by its own host."""

    def cost(self, commands: int) -> Cost:
        """Nothing that is known here."""
        return Cost()

    def sent(self, commands: int) -> list[int]:
        """Nothing that is known here."""
        return []

    def stop(self) -> None:
        """They start again for the next session."""


@contextmanager
def remote_mpspdz_engine(
    path: Path, bundle: Path, note: Note, progress: Progress, patience: float = PATIENCE
) -> Iterator[MpSpdzEngine]:
    """Parties that others run, with weights that the model owner shares for this session.

    Raises DeploymentError, BundleError, ProblemsFound, CertificateError, ServiceError.
    """
    deployment = Deployment.load(path)
    program = open_program(bundle, deployment)

    def attempt() -> MpSpdzClient:
        client = _connect(deployment, program, DATA_OWNER)
        try:
            client.hear()
        except BaseException:
            client.close()
            raise
        return client

    note("parties  waiting for them and for the model owner's weights (secfwt-weights)")
    client = _patiently(attempt, patience, note)
    note("weights  shared by the model owner")
    engine = MpSpdzEngine(program.plan, program.program, program.options, client, RemoteParties(), progress)
    try:
        yield engine
    finally:
        with uninterrupted():
            engine.close()


def share_weights_mpspdz(deployment: Deployment, bundle: Path, note: Note, patience: float = PATIENCE) -> None:
    """Share a bundle's weights as the model owner, for one session of the data owner.

    Raises BundleError, ProblemsFound, RangeError, CertificateError, ServiceError.
    """
    program = open_program(bundle, deployment)
    words = list(weight_words(program.program, program.options, bundle_weights(bundle, program)))

    def attempt() -> None:
        with _connect(deployment, program, MODEL_OWNER) as client:
            for each in words:
                client.give(each)
            client.hear()

    _patiently(attempt, patience, note)


def _connect(deployment: Deployment, program: BundleProgram, number: int) -> MpSpdzClient:
    addresses = [(party.host, party.client_port) for party in deployment.parties]
    active = PROTOCOLS[program.options.protocol].active
    return MpSpdzClient(
        number, addresses, deployment.certificates, program.identity, active=active, connect_seconds=CONNECT_SECONDS
    )


def _patiently(attempt: Callable[[], T], seconds: float, note: Note) -> T:
    """Try until it works. Nothing has been computed so far, and every sharing is masked anew."""
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        try:
            return attempt()
        except ServiceError as error:
            if error.failure != "lost" or time.monotonic() > deadline:
                raise
            if str(error) != said:
                said = str(error)
                note(f"waiting  {said}")
        time.sleep(PAUSE)
