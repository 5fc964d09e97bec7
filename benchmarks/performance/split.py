"""A private LoRA at its owner's server (`--engine split`): seconds and bytes per token, ahead of questions and in them.

One adapted set of modules is measured, with random weights, and multiplied by the model's layers. The two sides are two
processes; `ahead_seconds` is the time from the first ciphertext of a batch to its last answer, divided by its 8,192
tokens; `compute_seconds` is processor time of both for questions, TLS included. The error is that of B·A·x against
float64, in units of its deviation.

    python benchmarks/run.py split
    python benchmarks/run.py split --hidden 576 --outputs 960 --rank 24 --layers 30
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from secfwt.runtime.parties.certificates import make_certificates, server_context
from secfwt.runtime.parties.deployment import PartyAddress
from secfwt.runtime.split.client import AdapterClient
from secfwt.runtime.split.encryption.batch import TOKENS
from secfwt.runtime.split.encryption.bfv import Scheme
from secfwt.runtime.split.encryption.fixed import Adapter, Floats
from secfwt.runtime.split.server import AdapterServer, Served

from rows import command, commit, record

BASE = "00" * 32
QUESTIONS = 500


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """Per token of a model with `layers` adapted sets of modules; bytes in both directions."""

    benchmark: str
    hidden: int
    outputs: int
    rank: int
    layers: int
    ahead_seconds: float
    ahead_megabytes: float
    seconds: float
    compute_seconds: float
    megabytes: float
    round_trips: int
    online_seconds: float
    online_megabytes: float
    keys_megabytes: float
    rms_error: float
    online_rms_error: float
    peak_memory_mb: float
    server_memory_mb: float
    commit: str
    command: str


def add_options(parser: argparse.ArgumentParser, command: str) -> None:
    """Default: ChatGLM2-6B's 28 fused query_key_value."""
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--outputs", type=int, default=4608)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--dry", action="store_true", help="print only, add no row")


def main(options: argparse.Namespace) -> None:
    """Measure one call."""
    row = measure(options.hidden, options.outputs, options.rank, options.layers)
    record("split", row, options.dry)


def factors(hidden: int, outputs: int, rank: int) -> tuple[Floats, Floats]:
    """A and B as a LoRA has them after some training."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(rank, hidden)) / hidden**0.5, rng.normal(size=(outputs, rank)) / hidden**0.5


def serve(certificates: Path, given: tuple[Floats, Floats], ready: Connection) -> None:
    """The server's process; sends its port, and in the end its peak memory."""
    scheme = Scheme()
    down, up = given
    adapter = Adapter.of(["layers.0.q"], [(down, up)], 4 * down.shape[1] ** 0.5, scheme.modulus)
    context = server_context(certificates, "party0")
    server = AdapterServer(scheme, Served(BASE, [adapter], 0), context, lambda text: None)
    listening = socket.create_server(("127.0.0.1", 0))
    ready.send(listening.getsockname()[1])
    for _ in range(2):
        server.meet(listening)
    ready.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def added(client: AdapterClient, row: Floats) -> Floats:
    """`[1, outputs]`."""
    return client.added(0, 0, client.ask(0, row[None]))


def processor_seconds(server: int | None) -> float:
    """Of this process and the server's."""
    times = [psutil.Process(pid).cpu_times() for pid in (None, server)]
    return float(sum(t.user + t.system for t in times))


def measure(hidden: int, outputs: int, rank: int, layers: int) -> SplitRow:
    """Both ways of asking."""
    given, rows = factors(hidden, outputs, rank), np.random.default_rng(1).normal(size=(QUESTIONS, hidden))
    wanted = rows @ given[0].T @ given[1].T
    with TemporaryDirectory() as folder:
        certificates = Path(folder) / "certificates"
        make_certificates(certificates, parties=1)
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(certificates, given, there))
        process.start()
        matrices = {"layers.0.q": (outputs, hidden)}
        address = PartyAddress(host="127.0.0.1", port=here.recv())
        with AdapterClient(address, certificates, BASE, matrices, lambda done, everything: None) as client:
            began = time.monotonic()
            got = [added(client, rows[0])]
            ahead, sent = time.monotonic() - began, client.bytes
            began, busy = time.monotonic(), processor_seconds(process.pid)
            got += [added(client, row) for row in rows[1:]]
            seconds, each = (time.monotonic() - began) / (QUESTIONS - 1), (client.bytes - sent) / (QUESTIONS - 1)
            computing = (processor_seconds(process.pid) - busy) / (QUESTIONS - 1)
            prepared = client.prepared_bytes
        with AdapterClient(address, certificates, BASE, matrices, lambda done, everything: None, "online") as client:
            keys = client.bytes
            client.ask(0, rows[:1])
            began, sent = time.monotonic(), client.bytes
            online = [added(client, row) for row in rows[:10]]
            online_seconds, online_each = (time.monotonic() - began) / 10, (client.bytes - sent) / 10
        server_memory = here.recv()
        process.join()
    errors = [np.concatenate(part) - wanted[: len(part)] for part in (got, online)]
    return SplitRow(
        benchmark="split", hidden=hidden, outputs=outputs, rank=rank, layers=layers,
        ahead_seconds=ahead / TOKENS * layers, ahead_megabytes=prepared / TOKENS * layers / 1e6,
        seconds=seconds * layers, compute_seconds=computing * layers, megabytes=each * layers / 1e6, round_trips=layers,
        online_seconds=online_seconds * layers, online_megabytes=online_each * layers / 1e6,
        keys_megabytes=keys / 1e6, rms_error=float(np.sqrt(np.square(errors[0]).mean()) / wanted.std()),
        online_rms_error=float(np.sqrt(np.square(errors[1]).mean()) / wanted.std()),
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, server_memory_mb=server_memory / 1e6,
        commit=commit(), command=command(),
    )  # fmt: skip
