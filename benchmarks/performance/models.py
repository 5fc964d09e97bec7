"""Models of a given shape with random weights: what benchmarks run when the weights' values do not matter."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from secfwt.codegen.model.decoders.rope import Rope
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.model.weights import absent_shapes, checkpoint_shapes, derived_shapes
from secfwt.codegen.owners.log_sum import log_sums
from secfwt.codegen.plan.graph import Plan
from secfwt.runtime.comparison.random_weights import normalised_rows, random_tensor

__all__ = [
    "DECODERS", "FEATURES", "FITTED_ROWS", "PROTOTYPES", "SHAPES", "VERBALISER", "DecoderSize", "EncoderSize",
    "RandomWeights", "model_spec", "model_weights", "normalised_rows",
]  # fmt: skip

FEATURES = 32
FITTED_ROWS = 2048
"""Random rows that estimates of the log-sum-exp are fitted to: five times what the smallest model's rows have numbers.
"""
PROTOTYPES = HeadSpec("prototypes", "mean", ("a", "b", "c", "d"))
"""A sentence encoder's: the mean of the rows is compared with four embeddings."""
VERBALISER = HeadSpec("masked_lm", "select", ("a", "b"), dense_act="gelu", norm=True)
"""A language model's: two words are scored at the mask."""
NEXT_WORD = HeadSpec("causal_lm", "last", ("a", "b"))
"""A decoder's: two words are scored behind the last row."""


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


@dataclass(frozen=True)
class DecoderSize:
    """A decoder's dimensions, and its head."""

    hidden: int
    heads: int
    inner: int
    layers: int
    key_heads: int
    llama: bool = True
    """Rotary positions, a gated feed-forward network, RMSNorm, no biases; else as GPT-2 has them."""
    head: HeadSpec = NEXT_WORD

    def __str__(self) -> str:
        return f"{self.hidden}/{self.heads}/{self.inner}"


DECODERS = {
    "smollm2": DecoderSize(576, 9, 1536, 30, 3),
    "gpt2": DecoderSize(768, 12, 3072, 12, 12, llama=False),
    "llama-7b": DecoderSize(4096, 32, 11008, 32, 32),
}
SHAPES = {
    "minilm": EncoderSize(384, 12, 1536, 6),
    "bert-base": EncoderSize(768, 12, 3072, 12),
    "roberta-large": EncoderSize(1024, 16, 4096, 24),
}


def model_spec(shape: EncoderSize | DecoderSize) -> ModelSpec:
    """An encoder with as many positions as BERT, or a decoder with as many as GPT-2; a vocabulary of one word."""
    dimensions = shape.hidden, shape.layers, shape.heads, shape.inner
    if isinstance(shape, DecoderSize):
        if not shape.llama:
            return ModelSpec("gpt2", *dimensions, "gelu_new", 1e-5, 1, 1024, 0, 0, 0, shape.head, causal=True)
        return ModelSpec(
            "llama", *dimensions, "silu", 1e-5, 1, 1024, 0, 0, 0, shape.head, causal=True, norm="rms", gated=True,
            rope=Rope(10_000.0), num_key_value_heads=shape.key_heads, biased=(),
        )  # fmt: skip
    return ModelSpec("bert", *dimensions, "gelu", 1e-12, 1, 512, 0, 0, 0, shape.head)


class RandomWeights(Mapping[str, np.ndarray]):
    """A value for every weight that plans name, with the spread of a trained encoder's; none for the estimates of the
    log-sum-exp, which follow from the others (`model_weights`).

    A weight is made from its name's own seed every time it is read: those of a large model take no memory, and plans
    that share names share weights.
    """

    def __init__(self, shape: EncoderSize | DecoderSize, options: GenOptions, *plans: Plan) -> None:
        spec = model_spec(shape)
        self._absent = absent_shapes(spec)
        shapes = checkpoint_shapes(spec) | derived_shapes(spec, options) | self._absent
        names = {name for plan in plans for value in plan for name in value.weights.values() if ".log_sum." not in name}
        self._shapes = {name: shapes[name] for name in sorted(names)}

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._absent:
            return np.zeros(self._shapes[name])
        return random_tensor(name, self._shapes[name], np.random.default_rng(crc32(name.encode())))

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a weight, which is not made for it."""
        return self._shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def model_weights(
    shape: EncoderSize | DecoderSize, options: GenOptions, plan: Plan, inputs: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """Random weights and, with softmax attention, the estimates of the log-sum-exp that fit them on `inputs`.

    `inputs` are not those that are measured: an estimate errs as a model owner's does.
    """
    weights = RandomWeights(shape, options, plan)
    return ChainMap(log_sums(plan, weights, [inputs]), weights) if options.attention == "softmax" else weights
