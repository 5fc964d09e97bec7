"""The MP-SPDZ program of a bundle, as a deployment's parties and owners read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from ...codegen.bundle import program_mp_spdz, program_options, program_spec
from ...codegen.model.weights import Weights
from ...codegen.mpspdz.calls import translate
from ...codegen.mpspdz.options import MpSpdzOptions
from ...codegen.mpspdz.program import MpcProgram
from ...codegen.mpspdz.text import identity
from ...codegen.plan.build import build_plan
from ...codegen.plan.graph import Plan
from ..errors import BundleError
from ..parties.deployment import Deployment


@dataclass(frozen=True)
class BundleProgram:
    """A generated program, and what its clients must know of it."""

    source: Path
    plan: Plan
    options: MpSpdzOptions
    program: MpcProgram
    identity: list[int]


def open_program(bundle: Path, deployment: Deployment) -> BundleProgram:
    """The public part of a bundle, for parties of this deployment. Raises BundleError, ProblemsFound."""
    source = bundle / "public" / "program.mpc"
    try:
        words = identity(source.read_text("utf-8"))
    except OSError as error:
        raise BundleError(f"cannot read {source}: {error.strerror}; secfwt-gen --target mp-spdz writes it") from None
    except ValueError as error:
        raise BundleError(f"{source}: {error}") from None
    options = program_mp_spdz(bundle)
    if options.protocol != deployment.protocol:
        said = deployment.protocol or f"none, its engine is {deployment.engine}"
        raise BundleError(f"{source} is for protocol {options.protocol}, the deployment's is {said}")
    plan = build_plan(program_spec(bundle), program_options(bundle))
    return BundleProgram(source, plan, options, translate(plan, options), words)


def bundle_weights(bundle: Path, program: BundleProgram) -> Weights:
    """What the model owner shares, by name. Raises BundleError."""
    path = bundle / "model_owner" / "mp-spdz.safetensors"
    try:
        weights = dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise BundleError(f"cannot read weights {path}: {error}") from error
    names = {name for container in program.program.wire for name in container.weights}
    if missing := sorted(names - weights.keys()):
        raise BundleError(f"weights {path} do not fit the program; missing: {', '.join(missing)}")
    return weights
