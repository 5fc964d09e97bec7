"""The clear engine of decoders against the plan's float oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toy_decoders import save_decoder
from secfwt.runtime.data.examples import Example
from secfwt.runtime.tuning.clear import ClearEngine
from secfwt.runtime.tuning.model import load_model
from secfwt.runtime.tuning.objective import PromptSpace
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.session import embed

from accuracy.decoder import TorchDecoder
from accuracy.methods import SILENT, without_prompt
from accuracy.prototypes import Embedded, LabelWords

TEXTS = ["good film", "a bad film", "it was very good", "the", "the news was bad"]
LABELS = ["good", "bad", "good", "bad", "good"]
OPTIONS = {
    "sequence_length": 36, "n_prompt_tokens": 2, "prompt_layer": 0, "intrinsic_dim": 6, "attention": "softmax",
    "template": "Review: {text} So it is", "label_words": ("good=good", "bad=bad"), "engine": "clear",
    "prototype_shots": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("llama", {"prompt_at": "template"}), ("llama", {"loss": "hinge"}), ("gpt2", {"prompt_layer": 1}),
        ("qwen2", {"n_prompt_tokens": 1}), ("llama", {"prototype_shots": 4.0}),
    ],
)  # fmt: skip
def test_torch_decoder_computes_what_the_oracle_does(family: str, more: dict[str, Any], tmp_path: Path) -> None:
    save_decoder(tmp_path, family, "causal_lm")
    options = TuneOptions(model=str(tmp_path), **(OPTIONS | more))
    model = load_model(options, ["bad", "good"])
    examples = [Example(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    batch = embed("train", examples, model, options, SILENT).batch
    space = PromptSpace(model.plan, 1.0)
    searched = np.random.default_rng(0).normal(size=(3, space.dim))
    weights = [[0.0], [0.5], [4.0]] if space.most_shots else np.zeros((3, 0))
    z = space.coordinates(np.concatenate([searched, weights], axis=1))
    assert model.weights is not None
    oracle, fast = ClearEngine(model.plan, model.weights), TorchDecoder(model, "cpu")
    for engine in (oracle, fast):
        engine.load_examples("train", batch)
        if space.most_shots:
            engine.keep("train", space.means(0.75))
            engine.keep("train", space.means(0.25), add=True)
    losses = fast.losses("train", z)
    assert np.abs(losses - oracle.losses("train", z)).max() < 1e-4
    assert np.abs(fast.logits("train", z[1]) - oracle.logits("train", z[1])).max() < 1e-4
    assert np.ptp(losses) > 1e-3
    leaf = torch.from_numpy(z).float().requires_grad_()
    fast.loss("train", leaf).sum().backward()
    assert leaf.grad is not None
    step = np.zeros_like(z)
    step[0, 0] = 1e-3
    slope = (fast.losses("train", z + step) - fast.losses("train", z - step))[0] / 2e-3
    assert abs(slope - leaf.grad[0, 0].item()) < 1e-2


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_shots_beside_label_words_are_the_oracles(family: str, tmp_path: Path) -> None:
    """`prototypes` computes what a run does, from the rows of one forward pass; without weight, the words' logits."""
    save_decoder(tmp_path, family, "causal_lm")
    options = TuneOptions(model=str(tmp_path), **(OPTIONS | {"prototype_shots": 4.0, "prompt_at": "template"}))
    model = load_model(options, ["bad", "good"])
    examples = [Example(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    labelled = embed("train", examples, model, options, SILENT)
    assert model.weights is not None
    oracle, space = ClearEngine(model.plan, model.weights), PromptSpace(model.plan, 1.0)
    oracle.load_examples("train", labelled.batch)
    oracle.keep("train", space.means())
    plain = without_prompt(model)
    fast = TorchDecoder(plain, "cpu")
    fast.load_examples("train", embed("train", examples, plain, options, SILENT).batch)
    rows = fast.unit_rows("train")
    offset = fast.read(np.zeros(rows.shape[-1]))
    head = LabelWords(fast.read(np.eye(rows.shape[-1])) - offset, offset)
    means = Embedded(rows, labelled.labels).means(2)
    logits = {}
    for weight in (0.0, 0.5, 4.0):
        logits[weight] = oracle.logits("train", space.coordinates(np.append(np.zeros(space.dim), weight)))
        assert np.abs(head.logits(rows, means, weight) - logits[weight]).max() < 1e-3
    assert np.abs(fast.logits("train", np.zeros(0)) - logits[0.0]).max() < 1e-4
    assert np.ptp(logits[4.0] - logits[0.5]) > 0.1
