"""Engines as a run opens and closes them: three local parties, parties that run elsewhere, or the clear engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ...codegen.bundle import Compiled, encoded_weights
from ...codegen.ring.header import ProgramTextError, read_program
from ..commands.party import LocalParties
from ..commands.weights import share_weights
from ..embedded.engine import EmbeddedEngine
from ..engine import Engine
from ..errors import BundleError
from ..parties.certificates import make_certificates
from ..parties.deployment import Deployment
from ..parties.processes import uninterrupted
from ..progress import Display
from .clear import ClearEngine
from .model import Model
from .run_folder import RunFolderError


@contextmanager
def clear_engine(model: Model, display: Display) -> Iterator[Engine]:
    """The clear engine, with its warning."""
    if model.weights is None:
        raise BundleError("--engine clear needs the model's weights: give --model, not --bundle")
    display.note("warning  NOT PRIVATE: the clear engine sees weights and examples as they are")
    yield ClearEngine(model.plan, {name: np.asarray(w, np.float64) for name, w in model.weights.items()})


def local_engine(model: Model, folder: Path, display: Display) -> AbstractContextManager[Engine]:
    """`compiled_engine` of a run's model."""
    if model.compiled is None:
        raise BundleError("local parties need the model's weights: give --model, or --deployment with --bundle")
    return compiled_engine(model.compiled, folder, display)


@contextmanager
def compiled_engine(compiled: Compiled, folder: Path, display: Display) -> Iterator[EmbeddedEngine]:
    """Three parties as processes of this machine, over TLS, with the model's weights shared among them.

    Program, certificates and logs go below `folder`. This process plays both owners; the parties see shares only, and
    what they send and receive is what it would be over a network.
    """
    program = folder / "program.txt"
    try:
        folder.mkdir(exist_ok=True)
        program.write_text(compiled.text)
        keys = TemporaryDirectory(prefix="certificates-", dir=folder)
    except OSError as error:
        raise RunFolderError(f"cannot write the parties' files in {folder}: {error.strerror}") from None
    with keys as certificates:
        make_certificates(Path(certificates))
        deployment = Deployment.local(Path(certificates))
        with _parties(deployment, program, folder):
            header = read_program(program)
            share_weights(deployment, header, encoded_weights(compiled))
            display.note("weights  shared among three local parties")
            with _session(EmbeddedEngine(deployment, header, progress=display.part), stop=True) as engine:
                yield engine


@contextmanager
def remote_engine(path: Path, program: Path, display: Display) -> Iterator[Engine]:
    """Parties that others run, with weights that the model owner has sent; they go on running afterwards."""
    try:
        header = read_program(program)
    except ProgramTextError as error:
        raise BundleError(str(error)) from None
    deployment = Deployment.load(path)
    if deployment.engine != "embedded":
        raise BundleError(f"deployment {path} is for --engine {deployment.engine}, this run's is embedded")
    with _session(EmbeddedEngine(deployment, header, progress=display.part), stop=False) as engine:
        yield engine


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
def _session(engine: EmbeddedEngine, *, stop: bool) -> Iterator[EmbeddedEngine]:
    try:
        yield engine
    finally:
        with uninterrupted():
            engine.close() if stop else engine.leave()
