"""Models of a given shape with random weights: what benchmarks run when the weights' values do not matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.model.weights import checkpoint_shapes, derived_shapes
from secfwt.codegen.plan.graph import Plan
from secfwt.runtime.comparison.random_weights import normalised_rows, random_tensor

__all__ = ["FEATURES", "LABELS", "SHAPES", "EncoderSize", "RandomWeights", "model_spec", "normalised_rows"]

FEATURES = 32
LABELS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class EncoderSize:
    """An encoder's dimensions."""

    hidden: int
    heads: int
    inner: int
    layers: int

    def __str__(self) -> str:
        return f"{self.hidden}/{self.heads}/{self.inner}"


SHAPES = {
    "minilm": EncoderSize(384, 12, 1536, 6),
    "bert-base": EncoderSize(768, 12, 3072, 12),
    "roberta-large": EncoderSize(1024, 16, 4096, 24),
}


def model_spec(shape: EncoderSize) -> ModelSpec:
    """A sentence encoder with prototypes."""
    head = HeadSpec("prototypes", "mean", LABELS)
    return ModelSpec("bert", shape.hidden, shape.layers, shape.heads, shape.inner, "gelu", 1e-12, 1, 512, 0, 0, 0, head)


class RandomWeights(Mapping[str, np.ndarray]):
    """A value for every weight that plans name, with the spread of a trained encoder's.

    A weight is made from its name's own seed every time it is read: those of a large model take no memory, and plans
    that share names share weights.
    """

    def __init__(self, shape: EncoderSize, options: GenOptions, *plans: Plan) -> None:
        shapes = checkpoint_shapes(model_spec(shape)) | derived_shapes(model_spec(shape), options)
        names = {name for plan in plans for value in plan for name in value.weights.values()}
        self._shapes = {name: shapes[name] for name in sorted(names)}

    def __getitem__(self, name: str) -> np.ndarray:
        return random_tensor(name, self._shapes[name], np.random.default_rng(crc32(name.encode())))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)
