"""What the model owner does once: from a checkpoint to every tensor that the plan names."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..commandline.problems import Problem, ProblemsFound, note
from ..hub.tokenizer import label_token_ids
from ..model.adapter import Adapter, apply_adapter
from ..model.checkpoint import load_checkpoint
from ..model.features import add_features
from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.weights import Weights, prompt_name, prompted_layers
from ..plan.build import build_encoder
from ..plan.oracle import run_plan
from .check import check_embedder, fitting_tokenizer
from .embed import Embedder, Settings, embedding_tables
from .frozen import FrozenLayers

SAME = 1e-6
"""Embeddings whose elements differ by less are of the same tokens."""


def prepare_weights(
    path: Path, spec: ModelSpec, options: GenOptions, adapter: Adapter | None = None
) -> tuple[Weights, Embedder]:
    """All canonical tensors of a program, float32, and the embedder that the data owner will use.

    `path`: a model directory or any file in it. `options` must already be the adapter's (`Adapter.options`).
    Raises `ProblemsFound`.
    """
    tokenizer = fitting_tokenizer(path if path.is_dir() else path.parent, spec)
    label_ids = label_token_ids(tokenizer, options.label_words) if spec.head.kind == "masked_lm" else []
    weights = load_checkpoint(path, spec, label_ids)
    frozen = FrozenLayers.of(spec, options, weights)  # an adapter's tensors are for random features
    if adapter is not None:
        weights = apply_adapter(weights, spec, options, adapter)
    elif options.attention == "rfa":
        weights = add_features(weights, spec, options)
    embedder = Embedder(tokenizer, embedding_tables(weights), Settings.of(spec, options), frozen)
    check_embedder(embedder)
    if spec.prompt:
        note(f"{spec.prompt!r} stands before every text, the model's default prompt (--template changes that)")
    for layer in prompted_layers(spec, options):
        weights[prompt_name(options, layer)] = initial_prompt(spec, options, weights, embedder, layer)
    if spec.head.kind == "prototypes":
        weights["head.prototypes"] = prototypes(spec, options, weights, embedder)
    return weights, embedder


def initial_prompt(
    spec: ModelSpec, options: GenOptions, weights: Weights, embedder: Embedder, layer: int
) -> NDArray[np.float32]:
    """A layer's prompt at z = 0, `[n, h]`: separators as they enter that layer.

    Heads rest on separators (Clark et al. 2019), so these change the model little; Black-Box Tuning's random words
    moved accuracy by up to four points before the search began (docs/accuracy.md).
    """
    n = options.n_prompt_tokens
    first, *rest = embedder.tokenizer.encode("").ids
    ids = [first, *rest[-1:] * n, *rest]
    short = replace(options, sequence_length=len(ids))
    settings = replace(embedder.settings, sequence_length=len(ids))
    short_embedder = Embedder(embedder.tokenizer, embedding_tables(weights), settings, embedder.frozen)
    inputs = short_embedder.embed([ids], [[0] * len(ids)])
    rows = run_plan(build_encoder(spec, short, layers=layer), weights, inputs)["rows"]
    return rows[0, 0, 1 : 1 + n].astype(np.float32)


def prototypes(spec: ModelSpec, options: GenOptions, weights: Weights, embedder: Embedder) -> NDArray[np.float32]:
    """Unit embeddings `[L, h]` of the label texts, by the model itself with the attention that the options name.

    Raises `ProblemsFound` where two are the same: no prompt could tell those labels apart.
    """
    inputs, _ = embedder.encode(options.label_texts)
    pooled = run_plan(build_encoder(spec, options), weights, inputs)["pooled"][0]
    unit = pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)
    for (a, text), (b, other) in combinations(enumerate(options.label_texts), 2):
        if np.abs(unit[a] - unit[b]).max() < SAME:
            header = f"label texts {text!r} and {other!r} have the same embedding: the tokenizer knows neither"
            advice = "Say what the labels mean in words: tune.py --label-text 'label=text', secfwt-gen --label-texts."
            raise ProblemsFound([Problem("error", header, advice)])
    return np.asarray(unit, np.float32)
