"""Models of a given shape with random weights: what benchmarks run when the weights' values do not matter."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.model.weights import checkpoint_shapes, derived_shapes
from secfwt.codegen.owners.log_sum import log_sums
from secfwt.codegen.plan.graph import Plan
from secfwt.runtime.comparison.random_weights import normalised_rows, random_tensor

__all__ = [
    "FEATURES", "FITTED_ROWS", "PROTOTYPES", "SHAPES", "VERBALISER", "EncoderSize", "RandomWeights", "model_spec",
    "model_weights", "normalised_rows",
]  # fmt: skip

FEATURES = 32
FITTED_ROWS = 2048
"""Random rows that estimates of the log-sum-exp are fitted to: five times what the smallest model's rows have numbers.
"""
PROTOTYPES = HeadSpec("prototypes", "mean", ("a", "b", "c", "d"))
"""A sentence encoder's: the mean of the rows is compared with four embeddings."""
VERBALISER = HeadSpec("masked_lm", "select", ("a", "b"), dense_act="gelu", norm=True)
"""A language model's: two words are scored at the mask."""


@dataclass(frozen=True)
class EncoderSize:
    """An encoder's dimensions, and its head."""

    hidden: int
    heads: int
    inner: int
    layers: int
    head: HeadSpec = PROTOTYPES

    def __str__(self) -> str:
        return f"{self.hidden}/{self.heads}/{self.inner}"


SHAPES = {
    "minilm": EncoderSize(384, 12, 1536, 6),
    "bert-base": EncoderSize(768, 12, 3072, 12),
    "roberta-large": EncoderSize(1024, 16, 4096, 24),
}


def model_spec(shape: EncoderSize) -> ModelSpec:
    """An encoder with as many positions as BERT."""
    dimensions = shape.hidden, shape.layers, shape.heads, shape.inner
    return ModelSpec("bert", *dimensions, "gelu", 1e-12, 1, 512, 0, 0, 0, shape.head)


class RandomWeights(Mapping[str, np.ndarray]):
    """A value for every weight that plans name, with the spread of a trained encoder's; none for the estimates of the
    log-sum-exp, which follow from the others (`model_weights`).

    A weight is made from its name's own seed every time it is read: those of a large model take no memory, and plans
    that share names share weights.
    """

    def __init__(self, shape: EncoderSize, options: GenOptions, *plans: Plan) -> None:
        shapes = checkpoint_shapes(model_spec(shape)) | derived_shapes(model_spec(shape), options)
        names = {name for plan in plans for value in plan for name in value.weights.values() if ".log_sum." not in name}
        self._shapes = {name: shapes[name] for name in sorted(names)}

    def __getitem__(self, name: str) -> np.ndarray:
        return random_tensor(name, self._shapes[name], np.random.default_rng(crc32(name.encode())))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def model_weights(
    shape: EncoderSize, options: GenOptions, plan: Plan, inputs: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """Random weights and, with softmax attention, the estimates of the log-sum-exp that fit them on `inputs`.

    `inputs` are not those that are measured: an estimate errs as a model owner's does.
    """
    weights = RandomWeights(shape, options, plan)
    return ChainMap(log_sums(plan, weights, [inputs]), weights) if options.attention == "softmax" else weights
