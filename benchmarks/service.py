"""Three local parties over TLS with a program and its weights loaded: what benchmarks of the embedded VM talk to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from secfwt.codegen.calibrated import Ranges
from secfwt.codegen.calibration import calibrate
from secfwt.codegen.emit import program_text
from secfwt.codegen.fixed_point import encode
from secfwt.codegen.lower import Program, lower
from secfwt.codegen.plan import Plan
from secfwt.codegen.program_text import read_program
from secfwt.codegen.schedule import schedule
from secfwt.runtime.certificates import make_certificates
from secfwt.runtime.client import Client
from secfwt.runtime.deployment import Deployment
from secfwt.runtime.errors import SecfwtError
from secfwt.runtime.party import LocalParties
from secfwt.runtime.sharing import Words

Arrays = Mapping[str, np.ndarray]

EMBEDDED = {"engine": "embedded", "protocol": "replicated ring, semi-honest", "parties": 3}
"""What rows of the embedded VM say of themselves."""


def compiled(plan: Plan, weights: Arrays, inputs: Arrays) -> tuple[Program, Plan]:
    """A model plan lowered with ranges calibrated on `inputs`, and its schedule."""
    program = lower(plan, weights, Ranges(calibrate(plan, weights, [inputs])))
    return program, schedule(program.plan)


class MemoryShort(SecfwtError):  # noqa: N818
    """A model that this machine has no room for three times over."""

    exit_code = 3


@contextmanager
def running(program: Program, ring: Plan, weights: Arrays, threads: int) -> Iterator[Client]:
    """The data owner's client of three parties that hold the weights."""
    check_memory(sum(v.size for v in ring.inputs("weight")), psutil.virtual_memory().available)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        text = home / "program.txt"
        text.write_text(program_text(ring, program.fits))
        make_certificates(home / "certificates")
        deployment = Deployment.local(home / "certificates", threads=threads)
        hash_ = read_program(text).hash
        with LocalParties(deployment, text, home / "logs"):
            with Client(deployment, "model-owner", hash_) as owner:
                owner.send_weights(encoded(program, ring, weights))
            with Client(deployment, "data-owner", hash_, patience=1800.0) as client:
                yield client


def check_memory(words: int, available: int) -> None:
    """Raise MemoryShort when three parties and the model owner would need more for the weights than is available."""
    needed = words * 8 * (3 * 2 + 1)
    if needed > available:
        raise MemoryShort(
            f"{words / 1e6:.0f} million weights need {needed / 1e9:.1f} GB, 16 bytes each at three parties and 8 at "
            f"the model owner; {available / 1e9:.1f} GB are free: nothing was started"
        )


def encoded(program: Program, ring: Plan, weights: Arrays) -> Words:
    """All weights in program order, one at a time: no second copy of a large model."""
    values = ring.inputs("weight")
    words = np.empty(sum(v.size for v in values), np.int64)
    end = 0
    for value in values:
        start, end = end, end + value.size
        fold = program.folds[value.attrs["name"]]
        words[start:end] = encode(np.asarray(fold.make(weights)), fold.scale).ravel()
    return words


def words(ring: Plan, kind: str, inputs: Arrays) -> Words:
    """All inputs of a kind as a client sends them."""
    return np.concatenate([encode(inputs[v.attrs["name"]], v.scale).ravel() for v in ring.inputs(kind)])


@dataclass
class Steps:
    """Steps of one session: seconds of each, the cost of the last, its result; and what the examples cost before."""

    load_seconds: float
    load_bytes: int
    seconds: list[float] = field(default_factory=list)
    bytes_sent: int = 0
    rounds: int = 0
    peak_bytes: int = 0
    result: Words = field(default_factory=lambda: np.empty(0, np.int64))


def run_steps(client: Client, ring: Plan, inputs: Arrays, examples: int, candidates: int, runs: int) -> Steps:
    """Share the examples, then the same step `runs` times; it opens the first output, of candidates."""
    client.send_examples(0, examples, words(ring, "example", inputs))
    steps = Steps(client.cost.seconds, client.cost.bytes_sent)
    size = candidates * ring[ring.outputs[0].value].size
    for _ in range(runs):
        seconds, sent, rounds = client.cost.seconds, client.cost.bytes_sent, client.cost.rounds
        steps.result = client.step(0, candidates, 0, size, words(ring, "candidate", inputs))
        steps.seconds.append(client.cost.seconds - seconds)
        steps.bytes_sent, steps.rounds = client.cost.bytes_sent - sent, client.cost.rounds - rounds
    steps.peak_bytes = client.cost.peak_bytes
    return steps
