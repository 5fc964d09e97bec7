"""What the owners send to a generated MP-SPDZ program: ring elements of every container, in the program's layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...codegen.model.weights import Weights
from ...codegen.mpspdz.options import MpSpdzOptions
from ...codegen.mpspdz.program import Container, MpcProgram
from ...codegen.plan.graph import Value
from ...codegen.plan.projection import public_matrix
from ..engine import Floats
from ..parties.sharing import RangeError, Words, encode

PROMPTS = ("prompt", "offset")
"""Kinds of values that the data owner computes of a candidate: rows, or what is added to rows."""


def encode_container(container: Container, values: NDArray[Any], options: MpSpdzOptions, name: str) -> Words:
    """round(values · factor · 2^scale) as one vector. Raises RangeError, which names the input."""
    scaled = np.asarray(values, np.float64) * container.factor
    words = encode(scaled, container.scale, name)
    if not container.integer and np.max(np.abs(words), initial=0) >= 2 ** (options.value_bits - 1):
        most = 2 ** (options.value_bits - options.fraction_bits - 1)
        raise RangeError(f"{name}: magnitude {np.max(np.abs(scaled)):.4g} is too large; values must stay below {most}")
    return words.ravel()


def weight_words(program: MpcProgram, options: MpSpdzOptions, weights: Weights) -> Iterator[Words]:
    """The model owner's containers in the order of the wire; `weights` as checkpoints hold them, `[out, in]`.

    Raises RangeError.
    """
    for container in program.wire:
        norms = container.norms or ("",) * len(container.sources)
        arrays = [_folded(weights, name, norm) for name, norm in zip(container.sources, norms, strict=True)]
        stacked = np.stack([a.T if container.transposed else a for a in arrays])
        yield encode_container(container, stacked, options, f"weight {container.sources[0]}")


def _folded(weights: Weights, name: str, norm: str) -> NDArray[Any]:
    """A matrix or bias with the affine part of the norm before it: W∘γ, b + Wβ."""
    if not norm:
        return weights[name]
    gamma, beta = (np.asarray(weights[f"{norm}.{part}"], np.float64) for part in ("gamma", "beta"))
    if name.endswith("weight"):
        return weights[name] * gamma
    return weights[name] + weights[name.removesuffix("bias") + "weight"] @ beta


def prompt_rows(prompt: Value, z: Floats) -> Floats:
    """A·z of one prompt of the plan, which the data owner knows: z `[C, d]` -> `[C, n, h]`; of a decoder's, the offset
    2^unit_bits·A·z."""
    attrs = prompt.attrs
    part = z[:, attrs["first"] : attrs["first"] + attrs["intrinsic_dim"]]
    a = public_matrix(attrs["seed"], attrs["bits"], (attrs["intrinsic_dim"], prompt.size))
    rows: Floats = (part @ np.ldexp(a.astype(np.float64), attrs.get("unit_bits", 0) - attrs["scale_bits"])).reshape(
        -1, *prompt.shape
    )
    return rows
