"""Models of a given shape with random weights: what benchmarks run when the weights' values do not matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from secfwt.codegen.options import GenOptions
from secfwt.codegen.plan import Plan
from secfwt.codegen.spec import HeadSpec, ModelSpec
from secfwt.runtime import random_weights as generator
from secfwt.runtime.random_weights import normalised_rows

__all__ = ["FEATURES", "LABELS", "SHAPES", "Shape", "model_spec", "normalised_rows", "random_weights"]

FEATURES = 32
LABELS = ("a", "b", "c", "d")


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


def model_spec(shape: Shape) -> ModelSpec:
    """A sentence encoder with prototypes."""
    head = HeadSpec("prototypes", "mean", LABELS)
    return ModelSpec("bert", shape.hidden, shape.layers, shape.heads, shape.inner, "gelu", 1e-12, 1, 512, 0, 0, 0, head)


def random_weights(plan: Plan, shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A value for every weight a plan names, with the spread of a trained encoder's."""
    return generator.random_weights(plan, model_spec(shape), GenOptions(rfa_features=FEATURES), rng)
