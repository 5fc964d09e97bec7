"""Models of a given shape with random weights: what benchmarks run when the weights' values do not matter."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from secfwt.codegen.plan import Plan

FEATURES = 32


@dataclass(frozen=True)
class Shape:
    """An encoder's dimensions."""

    hidden: int
    heads: int
    inner: int
    layers: int

    def __str__(self) -> str:
        return f"{self.hidden}/{self.heads}/{self.inner}"


SHAPES = {
    "minilm": Shape(384, 12, 1536, 6),
    "bert-base": Shape(768, 12, 3072, 12),
    "roberta-large": Shape(1024, 16, 4096, 24),
}
# Spread of matrices, times 1/sqrt(inputs): pre-activations of about unit size, attention that is not uniform.
SPREAD = {"phase_query": 0.12, "phase_key": 0.12, "v": 1.0, "o": 1.0, "ffn_in": 1.5, "ffn_out": 1.0}


def random_weights(plan: Plan, shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A value for every weight a plan names, with the spread of a trained encoder's."""
    names = sorted({name for v in plan for name in v.weights.values()})
    return {name: _random(name, shape, rng) for name in names}


def _random(name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    h, width = shape.hidden, shape.heads * FEATURES
    if name.endswith("gamma"):
        return 1 + 0.1 * rng.normal(size=h)
    if name.endswith("beta"):
        return 0.1 * rng.normal(size=h)
    if name.startswith("prompt."):
        return rng.normal(size=(4, h))
    if name == "head.prototypes":
        rows = rng.normal(size=(4, h))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
    part = name.split(".")[-2]
    out = {"phase_query": width, "phase_key": width, "ffn_in": shape.inner}.get(part, h)
    if name.endswith("bias"):
        return rng.normal(size=out) * 0.1 * SPREAD[part]
    inside = shape.inner if part == "ffn_out" else h
    return rng.normal(size=(out, inside)) * SPREAD[part] / sqrt(inside)


def normalised_rows(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random rows of mean zero and variance one."""
    x = rng.normal(size=size)
    x -= x.mean(-1, keepdims=True)
    return x / x.std(-1, keepdims=True)
