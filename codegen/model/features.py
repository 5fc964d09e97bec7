"""Random features for softmax-like attention without training: Rahimi & Recht 2007, orthogonal as in Yu et al. 2016."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .options import GenOptions
from .spec import ModelSpec
from .weights import FOLDED, Weights

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
    `relu2`: projections ω·(W x + b)/√d ± 1, of a size that suits rows of some ten keys. Random ones make the arc-cosine
    kernel of degree 2 (Cho & Saul 2009), which is not the softmax kernel. The offset, which queries and keys have in
    common, keeps a row's sum away from 0.
    `paper`: the rows ω themselves, for q and k of unit length (Peng et al. 2021).
    """
    if spec.causal:
        return weights | _of_rotated(spec, options)
    result = dict(weights)
    heads, dim = spec.num_attention_heads, spec.head_dim
    for i in range(spec.num_hidden_layers):
        rng = np.random.default_rng([options.seed, i])
        omega = np.stack([orthogonal_features(options.features_of(i), dim, rng) for _ in range(heads)])
        if options.rfa_variant == "paper":
            result[f"layers.{i}.features"] = omega.astype(np.float32)
            continue
        kind = FOLDED[options.rfa_variant]
        size = (8 * options.features_of(i)) ** -0.25
        common = size * rng.choice([-1.0, 1.0], options.features_of(i)) if kind == "feature" else 0.0
        turns = omega / (dim**0.5 / size if kind == "feature" else dim**0.25 * 2 * np.pi)
        for source, target in (("q", f"{kind}_query"), ("k", f"{kind}_key")):
            matrix = weights[f"layers.{i}.{source}.weight"].reshape(heads, dim, -1)
            offset = weights[f"layers.{i}.{source}.bias"].reshape(heads, dim, 1)
            result[f"layers.{i}.{target}.weight"] = (turns @ matrix).reshape(-1, spec.hidden_size).astype(np.float32)
            result[f"layers.{i}.{target}.bias"] = ((turns @ offset)[..., 0] + common).reshape(-1).astype(np.float32)
    return result


def _of_rotated(spec: ModelSpec, options: GenOptions) -> Weights:
    """`relu2` of a decoder: the same projections, of queries and keys as they are, a group's keys having one of their
    own."""
    heads, dim, result = (spec.num_attention_heads, spec.kv_heads), spec.head_dim, Weights()
    for i in range(spec.num_hidden_layers):
        rng, features = np.random.default_rng([options.seed, i]), options.features_of(i)
        size = (8 * features) ** -0.25
        common = size * rng.choice([-1.0, 1.0], features)
        for name, count in zip(("feature_query", "feature_key"), heads, strict=True):
            omega = np.concatenate([orthogonal_features(features, dim, rng) for _ in range(count)])
            result[f"layers.{i}.{name}.weight"] = (size * omega / dim**0.5).astype(np.float32)
            result[f"layers.{i}.{name}.bias"] = np.tile(common, count).astype(np.float32)
    return result
