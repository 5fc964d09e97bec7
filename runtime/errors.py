"""Errors that are for the user: one clear message and an exit code."""

from __future__ import annotations

from typing import Literal

from ..codegen.commandline.problems import SecfwtError as SecfwtError


class CertificateError(SecfwtError):
    """Certificates or keys that are missing, unreadable, too open or not for this deployment."""


class DeploymentError(SecfwtError):
    """A deployment file that does not describe an engine's parties."""


class BundleError(SecfwtError):
    """A bundle that does not fit the run or the deployment."""


class RunFolderError(SecfwtError):
    """A run folder that cannot be written, read or continued."""

    resumable = True


class InputError(SecfwtError):
    """Examples or candidates that are not what the program takes."""


class BudgetSpentError(SecfwtError):
    """The parties would refuse: the program's limit on what is opened is reached."""

    resumable = True


Failure = Literal["refused", "lost", "busy", "consequence"]


class ServiceError(SecfwtError):
    """A party refused, or is gone. `party` is its number; `failure` tells causes from what only follows from them."""

    exit_code = 3
    resumable = True

    def __init__(self, party: int, failure: Failure, text: str) -> None:
        super().__init__(f"party {party}: {text}")
        self.party = party
        self.failure = failure


class GroupError(SecfwtError):
    """A group of parties that cannot be taken in, or none that is left."""

    exit_code = 3
    resumable = True


class AdapterServerError(SecfwtError):
    """The server of a private adapter refused, or is gone; or so is the data owner that it served."""

    exit_code = 3
    resumable = True
