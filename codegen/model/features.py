"""Random features for softmax-like attention without training: Rahimi & Recht 2007, orthogonal as in Yu et al. 2016."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .options import GenOptions
from .spec import ModelSpec
from .weights import Weights

Floats = NDArray[np.float64]


def orthogonal_features(features: int, dim: int, rng: np.random.Generator) -> Floats:
    """Rows ω `[F, d]`, each N(0, I), orthogonal to each other in blocks of d rows.

    The mean of cos ω·(q − k) over rows estimates e^(−|q−k|²/2) without bias, with less variance than independent rows.
    """
    blocks = []
    for _ in range(0, features, dim):
        q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
        lengths = np.linalg.norm(rng.standard_normal((dim, dim)), axis=1)
        blocks.append(lengths[:, None] * (q * np.sign(np.diag(r))))
    return np.concatenate(blocks)[:features]


def add_features(weights: Weights, spec: ModelSpec, options: GenOptions) -> Weights:
    """`weights` with untrained random features for every layer; the same seed makes the same features.

    `folded`: phases of queries and keys as one product with the hidden row, ω·(W x + b)/(d^(1/4)·2π) turns, so that
    φ(q)·φ(k)/F estimates e^(−|q−k|²/2) of q/d^(1/4) and k/d^(1/4). That is the softmax kernel e^(q·k/√d) but for two:
    e^(−|q|²/2) cancels in attention, e^(−|k|²/2) does not and is left to adaptation.
    `paper`: the rows ω themselves, for q and k of unit length (Peng et al. 2021).
    """
    result = dict(weights)
    heads, dim = spec.num_attention_heads, spec.head_dim
    for i in range(spec.num_hidden_layers):
        rng = np.random.default_rng([options.seed, i])
        omega = np.stack([orthogonal_features(options.features_of(i), dim, rng) for _ in range(heads)])
        if options.rfa_variant == "paper":
            result[f"layers.{i}.features"] = omega.astype(np.float32)
            continue
        turns = omega / (dim**0.25 * 2 * np.pi)
        for source, target in (("q", "phase_query"), ("k", "phase_key")):
            matrix = weights[f"layers.{i}.{source}.weight"].reshape(heads, dim, -1)
            offset = weights[f"layers.{i}.{source}.bias"].reshape(heads, dim, 1)
            result[f"layers.{i}.{target}.weight"] = (turns @ matrix).reshape(-1, spec.hidden_size).astype(np.float32)
            result[f"layers.{i}.{target}.bias"] = (turns @ offset).reshape(-1).astype(np.float32)
    return result
