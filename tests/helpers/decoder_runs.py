"""Toy decoders compiled, with a few inputs: for comparisons of the ring oracle and the VM with the float oracle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from helpers.toy_decoders import DECODERS, HEAD_OPTIONS, save_decoder
from safetensors.numpy import load_file, save_file
from secfwt.codegen.compile import Compiled, compile_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.weights import Widened
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.encoding import Words, encode

TEXTS = ("a good film", "bad", "the news was")


class DecoderRun(NamedTuple):
    """A compiled toy, what it is given, in ring elements and as numbers, and what the float oracle makes of that."""

    compiled: Compiled
    words: dict[str, Words]
    inputs: dict[str, Any]
    reference: dict[str, Any]


def decoder_run(
    folder: Path,
    family: str,
    head: str,
    altered: Callable[[dict[str, Any]], None] | None = None,
    *,
    relu2: bool = False,
    texts: Sequence[str] = TEXTS,
    sizes: Mapping[str, int] | None = None,
    **options: Any,
) -> DecoderRun:
    """A toy in `folder` with a prompt of two rows, for these texts and two candidates; `altered`: what is done to its
    tensors; `relu2`: with an adapter of squared ReLU features; `sizes`: other ones than its family's toys have."""
    save_decoder(folder, family, head, **({"num_labels": 3} if head == "classification" else {}), **(sizes or {}))
    if altered is not None:
        alter(folder, altered)
    adapter = save_features(folder / "adapter", family) if relu2 else None
    given: dict[str, Any] = {"attention": "softmax", "sequence_length": 30, "n_prompt_tokens": 2, "intrinsic_dim": 5}
    given |= {"attention": "auto"} if relu2 else {}
    compiled = compile_model(folder, GenOptions(**(given | HEAD_OPTIONS[head] | options)), adapter)
    assert compiled.weights is not None
    assert compiled.embedder is not None
    inputs = compiled.embedder.encode(texts, [compiled.spec.head.labels[0]] * len(texts))[0]
    inputs["z"] = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    words = compiled.lowered.words(Widened(compiled.weights))
    for kind in ("example", "candidate"):
        words |= {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in compiled.ring.inputs(kind)}
    return DecoderRun(compiled, words, inputs, run_plan(compiled.plan, compiled.weights, inputs))


def save_features(folder: Path, family: str, features: int = 8) -> Path:
    """An adapter of squared ReLU features for a toy. Biases of one sign in queries and keys keep the first rows, which
    have few keys, from sums near 0."""
    shape = DECODERS[family][1]
    hidden, heads = shape.get("hidden_size", 32), shape.get("num_attention_heads", 4)
    kv_heads, dim = shape.get("num_key_value_heads", heads), shape.get("head_dim", hidden // heads)
    rng, tensors = np.random.default_rng(3), {}
    bias = 0.4 * rng.choice([-1.0, 1.0], features)
    for name, count in (("feature_query", heads), ("feature_key", kv_heads)):
        for layer in range(2):
            tensors[f"layers.{layer}.{name}.weight"] = rng.normal(size=(count * features, dim)) * 0.15
            tensors[f"layers.{layer}.{name}.bias"] = np.tile(bias, count)
    folder.mkdir()
    (folder / "adapter.json").write_text(json.dumps({"features": features, "variant": "relu2", "floor": 0.02}))
    save_file({name: value.astype(np.float16) for name, value in tensors.items()}, folder / "adapter.safetensors")
    return folder


def alter(folder: Path, altered: Callable[[dict[str, Any]], None]) -> None:
    """Change the tensors of a checkpoint in place."""
    file = folder / "model.safetensors"
    tensors = {name: np.array(value) for name, value in load_file(file).items()}
    altered(tensors)
    save_file(tensors, file, {"format": "pt"})
