"""The model owner's client: shares the weights of a bundle with the three parties."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ...codegen.ring.header import ProgramHeader, ProgramTextError, read_program
from ..engine import Cost
from ..errors import SecfwtError
from ..parties.deployment import Deployment
from ..parties.sharing import Elements, encoded
from .client import Client


class WeightsError(SecfwtError):
    """Weights that are not those of the program."""


def encode_weights(program: ProgramHeader, weights: Mapping[str, NDArray[Any]]) -> list[Elements]:
    """All `weight` inputs in program order: int64 arrays as they are, float arrays at the program's scales.

    Raises WeightsError, which lists everything that is missing, unknown or of another shape, and RangeError.
    """
    specs = program.of_kind("weight")
    problems = [f"{spec.name} is missing" for spec in specs if spec.name not in weights]
    problems += [f"{name} is unknown" for name in sorted(weights.keys() - {spec.name for spec in specs})]
    for spec in specs:
        array = weights.get(spec.name)
        if array is None:
            continue
        if array.shape != spec.shape:
            problems.append(f"{spec.name} has shape {list(array.shape)}, expected {list(spec.shape)}")
        elif array.dtype != np.int64 and array.dtype.kind != "f":
            problems.append(f"{spec.name} has type {array.dtype}, expected int64 or a float type")
    if problems:
        raise WeightsError("the weights do not fit the program: " + "; ".join(problems))
    arrays = ((spec, weights[spec.name]) for spec in specs)
    return [
        Elements(a, spec.ring) if a.dtype == np.int64 else encoded(a, spec, f"weight {spec.name}") for spec, a in arrays
    ]


def identity(deployment: Deployment, inputs: Sequence[Elements]) -> int:
    """63 bits that tell weights from others, for whoever has several groups of parties.

    A hash under the model owner's private key: who lacks that cannot try weights out on it.
    """
    key = (deployment.certificates / "model-owner.key").read_bytes()
    found = hmac.new(key, digestmod="sha256")
    for each in inputs:
        found.update(np.ascontiguousarray(each.words).reshape(-1).data)
    return int.from_bytes(found.digest()[:8], "little") >> 1


def share_weights(
    deployment: Deployment, program: ProgramHeader, weights: Mapping[str, NDArray[Any]], patience: float = 10.0
) -> Cost:
    """Share the weights as the model owner; the parties keep them until they stop. Returns what it cost the parties.

    Raises WeightsError, RangeError, CertificateError, ServiceError.
    """
    inputs = encode_weights(program, weights)
    with Client(deployment, "model-owner", program.hash, patience=patience) as client:
        client.send_weights(inputs, identity(deployment, inputs))
        return client.cost


def share_bundle(deployment: Deployment, bundle: Path, patience: float = 10.0) -> Cost:
    """`share_weights` for `public/program.txt` and `model_owner/weights.safetensors` of a bundle."""
    path = bundle / "model_owner" / "weights.safetensors"
    try:
        program = read_program(bundle / "public" / "program.txt")
        weights = load_file(path)
    except ProgramTextError as error:
        raise WeightsError(str(error)) from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {error}") from error
    return share_weights(deployment, program, weights, patience)
