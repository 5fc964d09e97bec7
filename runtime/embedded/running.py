"""The embedded engine as a run opens and closes it: three local parties, or parties that run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from ...codegen.compile import Compiled, encoded_weights, public_numbers
from ...codegen.ring.header import ProgramHeader, ProgramTextError, read_program
from ..engine import Progress
from ..errors import BundleError, RunFolderError
from ..parties.certificates import make_certificates
from ..parties.deployment import Deployment
from ..parties.processes import uninterrupted
from ..progress import Display
from ..run_folder import private_file, private_folder
from .engine import EmbeddedEngine
from .processes import LocalParties, public_weights
from .weights import share_weights

E = TypeVar("E", bound=EmbeddedEngine)
ALONE, AMONG_OWNERS = 10.0, 60.0
"""Seconds that a data owner tries again while the parties serve somebody else: several measure a prompt when the search
is over, one after the other."""


@contextmanager
def compiled_engine(compiled: Compiled, folder: Path, display: Display) -> Iterator[EmbeddedEngine]:
    """Three parties as processes of this machine, over TLS, with the model's weights shared among them.

    Program, certificates and logs go below `folder`. This process plays both owners; the parties see shares only, and
    what they send and receive is what it would be over a network.
    """
    program = folder / "program.txt"
    try:
        private_folder(folder)
        with private_file(program) as file:
            file.write(compiled.text.encode())
        if compiled.ring.inputs("constant"):
            with private_file(public_weights(program)) as file:
                file.writelines(public_numbers(compiled))
        keys = TemporaryDirectory(prefix="certificates-", dir=folder)
    except OSError as error:
        raise RunFolderError(f"cannot write the parties' files in {folder}: {error.strerror}") from None
    with keys as certificates:
        make_certificates(Path(certificates))
        (Path(certificates) / "ca.key").unlink()  # nobody needs it any more
        deployment = Deployment.local(Path(certificates))
        with _parties(deployment, program, folder):
            header = read_program(program)
            share_weights(deployment, header, encoded_weights(compiled))
            display.note("weights  shared among three local parties")
            with session(EmbeddedEngine(deployment, header, progress=display.part), stop=True) as engine:
                yield engine


@contextmanager
def remote_engine(path: Path, program: Path, progress: Progress, owner: str = "") -> Iterator[EmbeddedEngine]:
    """Parties that others run, with weights that the model owner has sent; they go on running afterwards. `owner`:
    which of several data owners this is; default: the one whose key is here."""
    deployment, header = elsewhere(path, program)
    role, patience = owner or deployment.own_client, AMONG_OWNERS if deployment.data_owners else ALONE
    with session(EmbeddedEngine(deployment, header, patience=patience, progress=progress, role=role)) as engine:
        yield engine


def elsewhere(path: Path, program: Path) -> tuple[Deployment, ProgramHeader]:
    """Where parties of the embedded engine run, and what. Raises BundleError, DeploymentError."""
    try:
        header = read_program(program)
    except ProgramTextError as error:
        raise BundleError(str(error)) from None
    deployment = Deployment.load(path)
    if deployment.engine != "embedded":
        raise BundleError(f"deployment {path} is for --engine {deployment.engine}, this run's is embedded")
    return deployment, header


@contextmanager
def _parties(deployment: Deployment, program: Path, logs: Path) -> Iterator[None]:
    parties = LocalParties(deployment, program, logs)
    parties.start()
    try:
        yield
    finally:
        with uninterrupted():
            parties.close()


@contextmanager
def session(engine: E, *, stop: bool = False) -> Iterator[E]:
    """An engine's session, ended however its context ends; the parties too with `stop`."""
    try:
        yield engine
    finally:
        with uninterrupted():
            engine.close() if stop else engine.leave()
