"""Weights and rows with the spread of a trained encoder's: for measurements in which their values do not matter."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ...codegen.model.options import GenOptions
from ...codegen.model.spec import ModelSpec
from ...codegen.model.weights import Shape, checkpoint_shapes, derived_shapes
from ...codegen.plan.graph import Plan

Floats = NDArray[np.float64]

SPREAD = {"phase_query": 0.12, "phase_key": 0.12, "ffn_in": 1.5}
"""Of matrices, times 1/sqrt(inputs), where it is not 1: pre-activations of about unit size, attention that is not
uniform."""


def random_weights(plan: Plan, spec: ModelSpec, options: GenOptions, rng: np.random.Generator) -> dict[str, Floats]:
    """A value for every weight that a plan of this model names, folded random features included."""
    shapes: Mapping[str, Shape] = checkpoint_shapes(spec) | derived_shapes(spec, options)
    names = sorted({name for v in plan for name in v.weights.values()})
    return {name: random_tensor(name, shapes[name], rng) for name in names}


def random_tensor(name: str, shape: Shape, rng: np.random.Generator) -> Floats:
    """A value for one weight, by its canonical name."""
    values = rng.normal(size=shape)
    if name.endswith("gamma"):
        return 1 + 0.1 * values
    if name.endswith("beta"):
        return 0.1 * values
    if name.startswith("prompt.") or ".sink." in name:
        return values
    if name == "head.prototypes":
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))
    spread = SPREAD.get(name.split(".")[-2], 1.0)
    return values * 0.1 * spread if name.endswith("bias") else values * spread / sqrt(shape[1])


def normalised_rows(size: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Random rows of mean zero and variance one."""
    x = rng.normal(size=size)
    x -= x.mean(-1, keepdims=True)
    return np.asarray(x / x.std(-1, keepdims=True))
