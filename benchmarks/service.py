"""Three local parties over TLS with a program and its weights loaded: what benchmarks of the embedded VM talk to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from secfwt.codegen.calibrated import Ranges
from secfwt.codegen.calibration import calibrate
from secfwt.codegen.emit import program_text
from secfwt.codegen.lower import Program, lower
from secfwt.codegen.oracle_fixed import encode
from secfwt.codegen.plan import Plan
from secfwt.codegen.program_text import read_program
from secfwt.codegen.schedule import schedule
from secfwt.runtime.certificates import make_certificates
from secfwt.runtime.client import Client
from secfwt.runtime.deployment import Deployment
from secfwt.runtime.party import LocalParties
from secfwt.runtime.weights import share_weights

Arrays = dict[str, np.ndarray]


def compiled(plan: Plan, weights: Arrays, inputs: Arrays) -> tuple[Program, Plan]:
    """A model plan lowered with ranges calibrated on `inputs`, and its schedule."""
    program = lower(plan, weights, Ranges(calibrate(plan, weights, [inputs])))
    return program, schedule(program.plan)


@contextmanager
def running(program: Program, ring: Plan, weights: Arrays, threads: int) -> Iterator[Client]:
    """The data owner's client of three parties that hold the weights."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        text = home / "program.txt"
        text.write_text(program_text(ring, program.fits))
        make_certificates(home / "certificates")
        deployment = Deployment.local(home / "certificates", threads=threads)
        header = read_program(text)
        with LocalParties(deployment, text, home / "logs"):
            encoded = {f.name: encode(np.asarray(f.make(weights)), f.scale) for f in program.folds.values()}
            share_weights(deployment, header, encoded)
            del encoded
            client = Client(deployment, "data-owner", header.hash, patience=1800.0)
            yield client
            client.stop()


def words(ring: Plan, kind: str, inputs: Arrays) -> np.ndarray:
    """All inputs of a kind as a client sends them."""
    return np.concatenate([encode(inputs[v.attrs["name"]], v.scale).ravel() for v in ring.inputs(kind)])
