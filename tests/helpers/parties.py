"""A tiny program, parties that run it, and clients of them that misbehave."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from secfwt.codegen.ring.header import ProgramHeader, read_program
from secfwt.runtime.embedded.engine import EmbeddedEngine
from secfwt.runtime.embedded.processes import LocalParties
from secfwt.runtime.embedded.weights import share_weights
from secfwt.runtime.engine import Batch
from secfwt.runtime.parties.certificates import client_context, make_certificates
from secfwt.runtime.parties.connection import HEADER, MAGIC, Connection, Frame
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.parties.packing import packed_bytes
from secfwt.runtime.parties.roles import clients_of
from secfwt.runtime.parties.sharing import Elements, encode

PROGRAM = """secfwt-program 4
v 0 setup rep 16 4x3 weight - name=w ring=44
v 1 example rep 16 2x4 example - name=x ring=21
v 2 candidate rep 16 2x3 candidate - name=z ring=44
v 3 example rep 16 2x4 lift 1 ring=44 group=0
v 4 example add 32 2x3 matmul 3,0
v 5 example rep 16 2x3 trunc 4 shift=16 ring=44 group=1
v 6 pair add 32 2x3 mul 5,2
v 7 pair rep 16 2x3 trunc 6 shift=16 ring=28 group=2
v 8 pair rep 16 2x1 sum 7 axis=-1
v 9 pair rep 16 1x1 sum 8 axis=-2
v 10 pair rep 16 1 reshape 9
v 11 candidate rep 16 1 reduce_examples 10
out loss 11 ring=28
out logits 7 ring=28 max_candidates=1
end
"""
RNG = np.random.default_rng(7)
W, X, Z = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 2, 4)), RNG.normal(size=(3, 6))
LOSSES = np.einsum("eij,jk,cik->c", X, W, Z.reshape(3, 2, 3))
TOLERANCE = 1e-3
"""Truncation and rounding at 16 bits over 30 products of standard normal numbers."""

RINGS = {"w": 44, "x": 21, "z": 44}
OPENED = 28
EXAMPLE_BYTES, CANDIDATE_BYTES, ONE_CANDIDATE_BYTES = (packed_bytes(n, b) for n, b in ((40, 21), (18, 44), (6, 44)))


def given(name: str, values: np.ndarray) -> list[Elements]:
    """An input as a client sends it."""
    return [Elements(encode(values, 16, name), RINGS[name])]


def write_program(folder: Path, text: str = PROGRAM) -> Path:
    path = folder / "program.txt"
    path.write_text(text)
    return path


def write_deployment(folder: Path, owners: tuple[str, ...] = (), coordinator: str = "") -> Deployment:
    """Certificates and `deployment.toml` of three local parties; `owners`: several data owners."""
    make_certificates(folder / "certificates", clients=clients_of(owners, coordinator))
    deployment = Deployment.local(folder / "certificates")
    lines = ['certificates = "certificates"']
    if owners:
        deployment = deployment.model_copy(update={"data_owners": owners, "coordinator": coordinator})
        lines += [f"data_owners = {json.dumps(owners)}", f'coordinator = "{coordinator}"']
    for party in deployment.parties:
        lines += ["[[parties]]", f'host = "{party.host}"', f"port = {party.port}"]
    (folder / "deployment.toml").write_text("\n".join(lines) + "\n")
    return deployment


def check_service(deployment: Deployment, program: ProgramHeader) -> None:
    """A whole session gives the right result."""
    engine = EmbeddedEngine(deployment, program)
    try:
        engine.load_examples("train", Batch({"x": X}))
        assert np.allclose(engine.losses("train", Z), LOSSES, atol=TOLERANCE)
    finally:
        engine.leave()


class RawClient:
    """Frames by hand, to each party alone."""

    def __init__(self, deployment: Deployment, role: str, program: Path) -> None:
        context = client_context(deployment.certificates, role)
        self.connections = [Connection(i, p, context, 60.0) for i, p in enumerate(deployment.parties)]
        self.hash = read_program(program).hash

    def hello(self, parties: tuple[int, ...] = (0, 1, 2), session: int = 1) -> None:
        for i in parties:
            self.connections[i].connect()
            self.connections[i]._tls.settimeout(15)
            self.send(i, Frame.HELLO, session, self.hash)
        if len(parties) == 3:
            for i in parties:
                assert self.connections[i]._read_frame()[0] == Frame.HELLO

    def send(self, party: int, kind: int, argument: int, payload: bytes, length: int | None = None) -> None:
        self.raw(party, HEADER.pack(MAGIC, kind, argument, len(payload) if length is None else length) + payload)

    def raw(self, party: int, data: bytes) -> None:
        self.connections[party]._tls.sendall(data)

    def read(self, party: int) -> tuple[int, int, memoryview]:
        """The next frame but for signs of life."""
        while (frame := self.connections[party]._read_frame())[0] == Frame.PROGRESS:
            pass
        return frame

    def die(self) -> None:
        """As a killed process: no goodbye, and a reset where data is unread."""
        for connection in self.connections:
            if connection._socket is not None:
                connection._socket.close()


@dataclass
class Running:
    """Three parties on this machine, which have the weights."""

    deployment: Deployment
    program: Path
    header: ProgramHeader
    local: LocalParties

    def raw(self, role: str = "data-owner") -> RawClient:
        return RawClient(self.deployment, role, self.program)

    def session(self) -> EmbeddedEngine:
        return EmbeddedEngine(self.deployment, self.header)

    def log(self, party: int) -> str:
        return self.local._logs[party].read_text()


@contextmanager
def parties_with_weights(folder: Path, certificates: Path, text: str = PROGRAM, **values: object) -> Iterator[Running]:
    """They run a program's text, with a deployment's values."""
    program = write_program(folder, text)
    deployment = Deployment.local(certificates, threads=1).model_copy(update=values)
    local = LocalParties(deployment, program, folder / "logs")
    try:
        local.start()
        running = Running(deployment, program, read_program(program), local)
        share_weights(deployment, running.header, {"w": W})
        yield running
    finally:
        local.close()
