"""The split engine as a run opens and closes it: the adapter's server elsewhere, or as a process of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ...codegen.model.weights import Weights
from ..errors import AdapterServerError, BundleError, RunFolderError
from ..parties.certificates import make_certificates
from ..parties.deployment import Deployment
from ..parties.processes import PartyProcesses, uninterrupted
from ..progress import Display
from ..run_folder import private_file, private_folder
from .adapters import base_hash
from .client import AdapterClient
from .encryption.batch import TOKENS
from .options import Encryption

COMMAND = f"{__package__}.serving"


@dataclass(frozen=True)
class Place:
    """Where the adapter is: at a server of a deployment, or in a folder here."""

    model: Path
    """The base."""
    lora: str
    deployment: str
    encryption: Encryption


@contextmanager
def adapter_client(place: Place, weights: Weights, folder: Path, display: Display) -> Iterator[AdapterClient]:
    """A connection to the adapter's server; one that is started here ends with it, and keeps its files in `folder`.

    `weights`: the base's, which must be the server's. Raises AdapterServerError, DeploymentError, RunFolderError.
    """
    display.note("warning  a private adapter can be solved for from what its server tells (docs/security.md)")
    base = base_hash(weights)
    matrices = {name.removesuffix(".weight"): w.shape for name, w in weights.items() if name.endswith(".weight")}
    if place.deployment:
        deployment = Deployment.load(Path(place.deployment))
        if deployment.engine != "split":
            raise BundleError(f"deployment {place.deployment} is for --engine {deployment.engine}, this run's is split")
        with _connected(deployment, base, matrices, place.encryption, display) as client:
            yield client
        return
    try:
        private_folder(folder)
        keys = TemporaryDirectory(prefix="certificates-", dir=folder)
    except OSError as error:
        raise RunFolderError(f"cannot write the server's files in {folder}: {error.strerror}") from None
    with keys as certificates:
        make_certificates(Path(certificates), parties=1)
        (Path(certificates) / "ca.key").unlink()  # nobody needs it any more
        deployment = Deployment.local(Path(certificates), engine="split")
        deployment.save(Path(certificates) / "deployment.toml")
        with LocalServer(place, Path(certificates) / "deployment.toml", folder / "adapter.log"):
            display.note("adapter  at a server of its own, a process of this machine")
            with _connected(deployment, base, matrices, place.encryption, display) as client:
                yield client


class LocalServer(PartyProcesses):
    """The server of an adapter as a process of this machine. It ends when this process does, however it ends."""

    def __init__(self, place: Place, deployment: Path, log: Path) -> None:
        super().__init__()
        self._command = [
            sys.executable, "-m", COMMAND, "--model", str(place.model), "--lora", place.lora,
            "--deployment", str(deployment), "--stop-with-stdin",
        ]  # fmt: skip
        self._log = log

    def start(self) -> None:
        """Returns when it serves. Raises AdapterServerError with its message where it does not."""
        try:
            with private_file(self._log) as file:
                process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True
                )
            self._processes.append(process)
            assert process.stdout is not None
            if process.stdout.readline() != b"listening\n":
                process.wait()
                lines = self._log.read_text(errors="replace").strip().splitlines()
                why = next((line for line in lines if line.startswith("error")), lines[-1] if lines else "no message")
                raise AdapterServerError(f"the adapter's server did not start: {why} (log: {self._log})")
        except OSError as error:
            self.close()
            raise AdapterServerError(f"the adapter's server cannot be started: {error.strerror or error}") from None
        except BaseException:
            self.close()
            raise


@contextmanager
def _connected(
    deployment: Deployment, base: str, matrices: Mapping[str, tuple[int, ...]], encryption: Encryption, display: Display
) -> Iterator[AdapterClient]:
    if encryption == "ahead":
        display.note(f"masks    made for {TOKENS:,} rows at a time; a few texts may be quicker without: --he online")
    client = AdapterClient(deployment.parties[0], deployment.certificates, base, matrices, display.part, encryption)
    try:
        yield client
    finally:
        with uninterrupted():
            client.close()
