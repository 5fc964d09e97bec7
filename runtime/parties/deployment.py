"""Where the parties are: a TOML file (docs/deployment.md), or processes on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from ...codegen.mpspdz.protocols import PROTOCOLS, ProtocolName
from ...codegen.native.defaults import AHEAD_MB, LANES
from ..errors import DeploymentError
from .certificates import host_name, names
from .ports import check_loopback, free_ports
from .roles import clients_of, wrong_names

LOCALHOST = "127.0.0.1"
LOOPBACK = ("localhost", LOCALHOST, "::1")
Kind = Literal["embedded", "split"]
PARTIES = {"embedded": 3, "split": 1}
"""Parties that a deployment describes; MP-SPDZ's number is the protocol's. Split: the server of an adapter."""
HOST = re.compile(r"[^\s/\[\]:@]+")


class PartyAddress(BaseModel):
    """Where one party is reached, and where it listens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    listen: str = ""
    """Address the party binds to; default: `host`. MP-SPDZ's parties bind all."""
    client_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Where a party of MP-SPDZ waits for the owners; the embedded engine's have one port for all."""

    @field_validator("host", "listen")
    @classmethod
    def _is_host(cls, host: str) -> str:
        """A name or an address; an IPv6 address may stand in brackets, as it does before a port."""
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if ":" in bare or bare != host:
            try:
                IPv6Address(bare)
            except ValueError:
                raise ValueError("a name or an address is expected, with the port in `port`") from None
        elif bare and not HOST.fullmatch(bare):
            raise ValueError("a name or an address is expected")
        return bare

    @property
    def address(self) -> str:
        """`host:port` as others reach it."""
        return _join(self.host, self.port)

    @property
    def listen_address(self) -> str:
        """`host:port` as the party binds it."""
        return _join(self.listen or self.host, self.port)


Pin = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Deployment(BaseModel):
    """What runs where, the folder with this host's certificates, and the parties' options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["embedded", "mp-spdz", "split"] = "embedded"
    protocol: ProtocolName | None = None
    """Of MP-SPDZ."""
    parties: tuple[PartyAddress, ...]
    certificates: Path
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads of a party; 0: all cores."""
    lanes: Annotated[int, Field(ge=1, le=64)] = LANES
    """Tiles of a step that a party of the embedded engine computes at the same time."""
    ahead_mb: Annotated[int, Field(ge=0, le=1 << 20)] = AHEAD_MB
    """Megabytes of randomness that a party of the embedded engine keeps for the next step; 0: none is made ahead."""
    connect_timeout: Annotated[int, Field(ge=1, le=86400)] = 60
    """Seconds a party of the embedded engine waits for the others to start."""
    idle_timeout: Annotated[int, Field(ge=1, le=86400)] = 60
    """Seconds without a command after which a party of the embedded engine ends a session while another client waits.
    """
    command_timeout: Annotated[int, Field(ge=1, le=86400)] = 30
    """Seconds that a command may take to arrive at a party of the embedded engine, beside one per 32 kB of shares, and
    longest pause in it."""
    stall_timeout: Annotated[int, Field(ge=5, le=86400)] | None = None
    """Seconds without a sign of life (embedded), without computing (MP-SPDZ), after which a party counts as lost;
    default: the engine's."""

    data_owners: tuple[str, ...] = ()
    """Names of several data owners, in an order that all hosts have the same; empty: there is one, `data-owner`."""
    coordinator: str = "coordinator"
    """Of several data owners: who runs the search, under a name of its own or one of theirs."""
    pins: dict[str, Pin] = {}
    """By name (party0 …, model-owner, data-owner): the only public key that the embedded engine takes as that name's,
    as SHA-256 of its SubjectPublicKeyInfo. Names that are left out may have any that the authority vouches for."""

    @model_validator(mode="after")
    def _fits_engine(self) -> Self:
        mp_spdz = self.engine == "mp-spdz"
        if mp_spdz != (self.protocol is not None):
            accepted = f"one of {', '.join(PROTOCOLS)}" if mp_spdz else "none"
            raise ValueError(f"protocol is {self.protocol or 'missing'}: engine {self.engine} takes {accepted}")
        expected = PROTOCOLS[self.protocol].parties if self.protocol else PARTIES[self.engine]
        if len(self.parties) != expected:
            what = f"protocol {self.protocol}" if self.protocol else f"engine {self.engine}"
            raise ValueError(f"{len(self.parties)} parties are described: {what} has {expected}")
        if problems := wrong_names(self.data_owners, self.coordinator):
            raise ValueError(f"data_owners: {'; '.join(problems)}")
        if self.data_owners and self.engine != "embedded":
            raise ValueError(f"data_owners is given: engine {self.engine} has one data owner")
        known = names(expected, self.clients)
        if unknown := sorted(self.pins.keys() - known.keys()):
            raise ValueError(f"pins has {', '.join(unknown)}: the names are {', '.join(known)}")
        if self.pins and self.engine != "embedded":
            raise ValueError(f"pins is given: engine {self.engine} checks none")
        for i, party in enumerate(self.parties):
            if mp_spdz != bool(party.client_port):
                text = "missing: a party of MP-SPDZ needs one" if mp_spdz else f"given: engine {self.engine} has none"
                raise ValueError(f"parties.{i}.client_port is {text}")
            if mp_spdz and party.listen:
                raise ValueError(f"parties.{i}.listen is given: parties of MP-SPDZ listen on all addresses")
            if mp_spdz and ":" in party.host:
                raise ValueError(f"parties.{i}.host is {party.host}: parties of MP-SPDZ speak IPv4")
        self._check_ports()
        return self

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of owners and coordinator."""
        return clients_of(self.data_owners, self.coordinator)

    def known(self, program: bytes) -> bytes:
        """What a client presents to the parties: the program's hash; of several data owners that of it and all names,
        so that nobody is mistaken about who they are."""
        if not self.data_owners:
            return program
        names = ",".join(map(host_name, (*self.data_owners, self.coordinator)))
        return hashlib.sha256(program + names.encode()).digest()

    @property
    def own_client(self) -> str:
        """Which data owner this host is: the one whose key it has; where it has several, and none is asked for by
        name, `load` cannot know. Raises DeploymentError."""
        if not self.data_owners:
            return "data-owner"
        here = [name for name in self.data_owners if (self.certificates / f"{name}.key").is_file()]
        if len(here) != 1:
            found = f"keys of {', '.join(here)}" if here else "no data owner's key"
            raise DeploymentError(
                f"{self.certificates} has {found}: say with --owner which one this is, of {', '.join(self.data_owners)}"
            )
        return here[0]

    def _check_ports(self) -> None:
        """No two parties, and no two ports of a party, are at one address."""
        taken: dict[tuple[str, int], str] = {}
        for i, party in enumerate(self.parties):
            host = LOCALHOST if party.host in LOOPBACK else party.host.lower()
            for name in ("port", "client_port"):
                port, key = getattr(party, name), f"parties.{i}.{name}"
                if port and (other := taken.setdefault((host, port), key)) != key:
                    raise ValueError(f"{key} is {port}: {other} of the same host has it already")

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read a file; relative folders are relative to it. Raises DeploymentError, which names file, key and value."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
            deployment = cls.model_validate(table)
        except OSError as error:
            raise DeploymentError(f"cannot read deployment {path}: {error.strerror}") from error
        except ValidationError as error:
            problems = "; ".join(_problem(e) for e in error.errors())
            raise DeploymentError(f"deployment {path}: {problems}") from error
        except (ValueError, RecursionError) as error:  # of the numbers too, and tables as deep as the stack
            raise DeploymentError(f"deployment {path} is not TOML: {error}") from error
        return deployment.model_copy(update={"certificates": path.parent / deployment.certificates})

    def save(self, path: Path) -> None:
        """Write a file that `load` reads as the same; folders in it are absolute. Raises OSError."""
        content = self.model_dump(mode="json", exclude_defaults=True, exclude={"parties", "pins"})
        content["certificates"] = str(self.certificates.absolute())
        tables = [("[[parties]]", party.model_dump(exclude_defaults=True)) for party in self.parties]
        tables += [("[pins]", self.pins)] if self.pins else []
        # strings and numbers are in TOML what they are in JSON
        lines = [f"{key} = {json.dumps(value)}" for key, value in content.items()]
        for head, table in tables:
            lines += ["", head, *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items())]
        path.write_text("\n".join(lines) + "\n", "utf-8")

    @classmethod
    def local(cls, certificates: Path, threads: int = 0, engine: Kind = "embedded") -> Deployment:
        """All parties on free ports of this machine. Raises DeploymentError where it cannot talk to itself."""
        check_loopback(LOCALHOST)
        parties = tuple(PartyAddress(host=LOCALHOST, port=port) for port in free_ports(PARTIES[engine]))
        return cls(engine=engine, parties=parties, certificates=certificates, threads=threads)


def _problem(error: ErrorDetails) -> str:
    """One finding of pydantic's in a few words."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"{place} is missing"
    if not place:
        return str(error["ctx"]["error"])
    return f"{place} = {error['input']!r}: {error['msg']}"


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
