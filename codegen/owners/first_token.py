"""A decoder's public first token: which one, and its keys and values in every layer.

Decoders rest most of their attention on the first token, whatever it is, and some give its rows values hundreds of
times those of all others (Sun et al. 2024, massive activations). It sees only itself: the model owner computes it in
the clear, and its numbers never enter the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.weights import Weights, derived_shapes
from ..plan.build import build_encoder
from ..plan.execution import Added
from ..plan.oracle import run_plan
from .sequences import bare_ids

Array = NDArray[np.float32]
MOST = 6
"""Tokens that are tried."""
FOLLOWED = 128
"""Tokens, drawn from the vocabulary, that each of them is followed by: rare words are those that take its role over."""


def first_token(
    tokenizer: Tokenizer, spec: ModelSpec, weights: Mapping[str, NDArray[Any]], texts: Sequence[str]
) -> int:
    """The token that sequences begin with: what the tokenizer puts there itself, or else that special token behind
    which rows stay smallest, of `texts` and of drawn tokens. Some pass the role on to the next one: SmolLM2's
    <|im_start|> to one token in ten, whose mean square reaches 600,000, and <|endoftext|> to none."""
    around = tokenizer.encode("").ids
    if around:
        return int(around[0])
    tried = sorted(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)[:MOST] or [0]
    tried = [i for i in tried if i < spec.vocab_size]
    ids = [bare_ids(tokenizer, text) for text in texts]
    length = min(len(row) for row in ids)
    words = np.setdiff1d(np.arange(spec.vocab_size), tried)
    drawn = np.random.default_rng(0).choice(words, (FOLLOWED, 2)).tolist()
    sizes = [_largest(spec, weights, tried, rows) for rows in ([row[:length] for row in ids], drawn)]
    return tried[int(np.argmin(np.max(sizes, axis=0)))]


def _largest(spec: ModelSpec, weights: Mapping[str, NDArray[Any]], tried: list[int], behind: list[list[int]]) -> Array:
    """Largest mean square of rows, in any layer, in sequences of one length behind each of some first tokens."""
    sizes: list[Array] = []

    def observe(site: str, values: Array) -> None:
        if site.endswith(".input_norm_var"):
            sizes.append(values.reshape(len(tried), len(behind), -1)[..., 1:].max(axis=(1, 2)))

    _run(spec, weights, [[token, *row] for token in tried for row in behind], observe)
    return np.asarray(np.max(sizes, axis=0))


def sink_weights(
    spec: ModelSpec, weights: Mapping[str, NDArray[Any]], token: int, added: Added | None = None
) -> Weights:
    """`layers.i.sink.key` and `.value` `[KV·D]` of the first token, float32; keys are not yet rotated. `added` as in
    `run_plan`."""
    found: Weights = {}

    def observe(site: str, values: Array) -> None:
        layer, _, what = site.rpartition(".")
        if what in ("key", "value"):
            found[f"{layer}.sink.{what}"] = values.reshape(3, -1)[0].astype(np.float32)

    _run(spec, weights, [[token] * 3], observe, added)
    return found


def _run(
    spec: ModelSpec, weights: Mapping[str, NDArray[Any]], ids: Sequence[Sequence[int]], observe: Any,
    added: Added | None = None,
) -> None:  # fmt: skip
    """Sequences of one length, all rows real: with nothing in front of them there is no other first token."""
    length = len(ids[0])
    options = GenOptions(sequence_length=length - 1, n_prompt_tokens=0, attention="softmax")
    x = weights["embeddings.word"][np.array(ids)]
    if "embeddings.position" in weights:
        x = x + weights["embeddings.position"][:length]
    # the rows that leave the last layer are not needed: keys and values are made as they enter it
    plan = build_encoder(spec, options, layers=spec.num_hidden_layers)
    nothing = {name: np.zeros(shape) for name, shape in derived_shapes(spec, options).items() if ".sink." in name}
    inputs = {"x": x, "mask": np.ones((len(ids), length))}
    run_plan(plan, {**weights, **nothing}, inputs, observe=observe, added=added, dtype=np.float32, tile_bytes=1 << 30)
