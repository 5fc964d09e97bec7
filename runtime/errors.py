"""Errors that are for the user: one clear message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal


class SecfwtError(Exception):
    """Something the user can put right; the message names the input, its value and what would be accepted."""

    exit_code = 2


class CertificateError(SecfwtError):
    """Certificates or keys that are missing, unreadable, too open or not for this deployment."""


class DeploymentError(SecfwtError):
    """A deployment file that does not describe an engine's parties."""


class BundleError(SecfwtError):
    """A bundle that does not fit the run or the deployment."""


class RunFolderError(SecfwtError):
    """A run folder that cannot be written, read or continued."""


class InputError(SecfwtError):
    """Examples or candidates that are not what the program takes."""


Failure = Literal["refused", "lost", "busy", "consequence"]


class ServiceError(SecfwtError):
    """A party refused, or is gone. `party` is its number; `failure` tells causes from what only follows from them."""

    exit_code = 3

    def __init__(self, party: int, failure: Failure, text: str) -> None:
        super().__init__(f"party {party}: {text}")
        self.party = party
        self.failure = failure


@contextmanager
def reported() -> Iterator[None]:
    """Print a `SecfwtError` as one line on the standard error stream and exit with its code."""
    try:
        yield
    except SecfwtError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
