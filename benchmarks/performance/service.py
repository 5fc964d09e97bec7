"""Three local parties over TLS with a program and its weights loaded: what benchmarks of the embedded VM talk to."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from secfwt.codegen.commandline.units import amount
from secfwt.codegen.lowering.program import Lowered, lower
from secfwt.codegen.memory import kept_bytes
from secfwt.codegen.owners.calibration import calibrate
from secfwt.codegen.plan.graph import Plan, Stage
from secfwt.codegen.ring.encoding import encode
from secfwt.codegen.ring.header import read_program
from secfwt.codegen.ring.program import RingProgram
from secfwt.codegen.ring.text import program_text
from secfwt.codegen.series.ranges import Ranges
from secfwt.runtime.embedded.client import Client
from secfwt.runtime.embedded.processes import LocalParties
from secfwt.runtime.errors import SecfwtError
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.parties.sharing import Elements, decode

Arrays = Mapping[str, np.ndarray]
Parties = Callable[[Deployment, Path, Path], LocalParties]
"""Deployment, program and a folder for logs -> what starts them."""


def lowered(plan: Plan, weights: Arrays, inputs: Arrays) -> Lowered:
    """A model plan as a ring program, with ranges calibrated on `inputs`."""
    return lower(plan, weights, Ranges(calibrate(plan, weights, [inputs])))


class MemoryShort(SecfwtError):  # noqa: N818
    """A model that this machine has no room for three times over."""

    exit_code = 3


@contextmanager
def running(program: Lowered, weights: Arrays, threads: int, parties: Parties = LocalParties) -> Iterator[Client]:
    """The data owner's client of three `parties` that hold the weights."""
    check_memory(program.ring, psutil.virtual_memory().available)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        text = home / "program.txt"
        text.write_text(program_text(program.ring))
        make_certificates(home / "certificates")
        deployment = Deployment.local(home / "certificates", threads=threads)
        hash_ = read_program(text).hash
        with parties(deployment, text, home / "logs"):
            began = time.monotonic()
            with Client(deployment, "model-owner", hash_) as owner:
                owner.send_weights(folded(program, weights))
            print(f"weights shared in {time.monotonic() - began:.3g} s", file=sys.stderr, flush=True)
            with Client(deployment, "data-owner", hash_, patience=1800.0) as client:
                yield client


def check_memory(ring: RingProgram, available: int) -> None:
    """Raise MemoryShort when three parties and the model owner would need more for the weights than is available."""
    words = sum(v.size for v in ring.inputs("weight"))
    party, owner = kept_bytes(ring, Stage.SETUP), 8 * words
    if 3 * party + owner > available:
        raise MemoryShort(
            f"{words / 1e6:.0f} million weights need {amount(3 * party + owner, 'B')}: {amount(party, 'B')} at each of "
            f"three parties, {amount(owner, 'B')} at the model owner; {amount(available, 'B')} are free: nothing was "
            "started"
        )


def folded(program: Lowered, weights: Arrays) -> Iterator[Elements]:
    """All weights in program order, one at a time: no second copy of a large model."""
    for v in program.ring.inputs("weight"):
        yield Elements(program.folds[v.attrs["name"]].words(weights), v.ring)


def shared(ring: RingProgram, kind: str, inputs: Arrays) -> list[Elements]:
    """All inputs of a kind as a client sends them."""
    return [Elements(encode(inputs[v.attrs["name"]], v.scale), v.ring) for v in ring.inputs(kind)]


def run_steps(
    client: Client,
    ring: RingProgram,
    inputs: Arrays,
    clear: np.ndarray,
    examples: int,
    candidates: int,
    runs: int,
    think: float = 0.0,
) -> dict[str, Any]:
    """Share the examples, then the same step `runs` times; it opens the first output, of candidates.

    Before each the client waits `think` seconds, in which the parties may make randomness ahead.

    Returns what a row says of them (`rows.measured`); the error is against `clear`, as large as the output.
    """
    client.send_examples(0, examples, shared(ring, "example", inputs))
    load = replace(client.cost)
    output = ring[ring.outputs[0].value]
    seconds = []
    for _ in range(runs):
        time.sleep(think)
        before = replace(client.cost)
        size, given = candidates * output.size, shared(ring, "candidate", inputs)
        result = client.step(0, candidates, 0, size, given, output.ring)
        seconds.append(client.cost.seconds - before.seconds)
    return {
        "engine": "embedded",
        "protocol": "replicated ring, semi-honest",
        "parties": 3,
        "load_seconds": load.seconds,
        "load_megabytes": load.bytes_sent / 1e6,
        "seconds": seconds,
        "bytes_sent": client.cost.bytes_sent - before.bytes_sent,
        "rounds": client.cost.rounds - before.rounds,
        "peak_bytes": client.cost.peak_bytes,
        "error": decode(result, output.scale).reshape(clear.shape) - clear,
    }
