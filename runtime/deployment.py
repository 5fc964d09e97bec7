"""Where the parties are: a TOML file (docs/deployment.md), or three processes on this machine."""

from __future__ import annotations

import socket
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import DeploymentError

LOCALHOST = "127.0.0.1"


class PartyAddress(BaseModel):
    """Where one party is reached, and where it listens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    listen: str = ""
    """Address the party binds to; default: `host`."""

    @property
    def address(self) -> str:
        """`host:port` as others reach it."""
        return _join(self.host, self.port)

    @property
    def listen_address(self) -> str:
        """`host:port` as the party binds it."""
        return _join(self.listen or self.host, self.port)


class Deployment(BaseModel):
    """Three parties, the folder with this host's certificates, and the parties' options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parties: Annotated[tuple[PartyAddress, ...], Field(min_length=3, max_length=3)]
    certificates: Path
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads of a party; 0: all cores."""
    connect_timeout: Annotated[int, Field(ge=1, le=86400)] = 60
    """Seconds a party waits for the others to start."""

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read a file; relative folders are relative to it. Raises DeploymentError, which names file, key and value."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            deployment = cls.model_validate(table)
        except OSError as error:
            raise DeploymentError(f"cannot read deployment {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DeploymentError(f"deployment {path} is not TOML: {error}") from error
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}"
                if e["type"] != "missing"
                else f"{'.'.join(map(str, e['loc']))} is missing"
                for e in error.errors()
            ]
            raise DeploymentError(f"deployment {path}: " + "; ".join(problems)) from error
        return deployment.model_copy(update={"certificates": path.parent / deployment.certificates})

    @classmethod
    def local(cls, certificates: Path, threads: int = 0) -> Deployment:
        """Three parties on free ports of this machine."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind((LOCALHOST, 0))
            ports = [each.getsockname()[1] for each in sockets]
        parties = tuple(PartyAddress(host=LOCALHOST, port=port) for port in ports)
        return cls(parties=parties, certificates=certificates, threads=threads)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
