"""Merged heads (MARILL, Rathee et al. 2024, arXiv:2408.03561): m heads' scores are added before one softmax.

The sum of q_h·k_h over m heads of dimension d is the product of what they have side by side, and one row of weights
serves their m values. So m merged heads are one head of dimension m·d: the same model with fewer heads, its queries
larger by √m, since softmax attention divides by √(m·d).
"""

from __future__ import annotations

import math

from torch import Tensor

from .options import ConversionError, ConvertOptions
from .student import Architecture, Parameters

SCORES = ("q.weight", "q.bias", "k.weight", "k.bias")
"""What stage 1 trains of a layer: all that its scores are made of."""
OF_FEATURES = ("features", "feature_error", "feature_kind", "rfa", "floor")
OF_ADAPTERS = ("activation", "harmonics")


def merged_start(teacher: Parameters, shape: Architecture) -> dict[str, Tensor]:
    """The original's queries, scaled, and keys: scores are the sums of each group's, heads side by side."""
    names = [f"layers.{i}.{name}" for i in range(shape.layers) for name in SCORES]
    return {name: teacher[name] * (math.sqrt(shape.merged) if ".q." in name else 1.0) for name in names}


def check_merging(options: ConvertOptions, heads: int, decoder: bool) -> None:
    """Raises `ConversionError` for a model or options that `--merge-heads` cannot be for."""
    header = f"--merge-heads is {options.merge_heads}"
    if decoder:
        raise ConversionError(f"{header}, the model is a decoder, whose keys turn by head: accepted: 1")
    if heads % options.merge_heads:
        accepted = ", ".join(str(m) for m in range(1, heads + 1) if heads % m == 0)
        raise ConversionError(f"{header}, the model has {heads} heads: accepted: {accepted}")
    if options.output != "model":
        raise ConversionError(f"{header}, --output is {options.output}: fewer heads are another model: accepted: model")
    for names, advice in (
        (OF_FEATURES, "merged heads keep softmax; convert the merged model again for features"),
        (OF_ADAPTERS, "a model directory has no place for its fit"),
    ):
        for name in names:
            if (value := getattr(options, name)) != getattr(ConvertOptions, name):
                raise ConversionError(f"--{name.replace('_', '-')} is {value}, {header}: {advice}")
