"""The public first token: one that keeps what models rest on it, behind whatever word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from helpers.decoder_runs import alter
from helpers.toy_decoders import save_decoder
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES, prepare_weights
from tokenizers import Tokenizer

LARGE = 1000.0


def leaky(tensors: dict[str, Any], common: list[int]) -> None:
    """A model that makes massive rows of all but common tokens behind token 0, and rows of all tokens somewhat larger
    behind other first tokens: what those have in dimensions 0 and 4 is added to rows, and a gated unit sees 0 and 1."""
    for name, value in tensors.items():
        if "proj" in name or "embed" in name:
            value *= 0.1
    first = "model.layers.0."
    q, k, v, o = (tensors[f"{first}self_attn.{name}_proj.weight"] for name in "qkvo")
    gate, up, down = (tensors[f"{first}mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
    embeddings = tensors["model.embed_tokens.weight"]
    for each in (q, k):
        each[:] = 0
    embeddings[:, :5] = 0
    embeddings[0, 0] = embeddings[1:3, 4] = 1
    embeddings[np.setdiff1d(np.arange(3, len(embeddings)), common), 1] = 1
    v[:2], o[:, :2], o[1], gate[0], up[0], down[:, 0] = 0, 0, 0, 0, 0, 0
    v[0, 0] = v[1, 4] = gate[0, 0] = up[0, 1] = 1
    o[0, 0], o[4, 1], down[2, 0] = 1, 2, LARGE


def test_no_rare_word_may_take_the_first_tokens_role_over(tmp_path: Path) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    common = [i for text in PROBES for i in tokenizer.encode(text).ids]
    alter(tmp_path, lambda tensors: leaky(tensors, common))
    options = GenOptions(
        attention="softmax", sequence_length=16, n_prompt_tokens=0, label_words=("good", "bad"), template="{text} It is"
    )
    spec = read_model(tmp_path, options)
    weights, _ = prepare_weights(tmp_path, spec, options)
    assert first_token(tokenizer, spec, weights, PROBES) != 0
