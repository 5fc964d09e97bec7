"""Adapters of toys: trained as the benchmark trains them, and what a private classifier with one costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from helpers.toy_decoders import save_decoder
from helpers.toy_lora import save_lora
from helpers.toys import save_sentence_transformer
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.lora.reading import read_lora
from secfwt.codegen.model.options import GenOptions
from secfwt.runtime.data.examples import Example

from accuracy.tasks import Task
from adapters import private
from adapters.train import Training, trained

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft
TASK = Task(
    "films", "films", first_row=0, tested=4, sequence_length=8,
    label_texts={"good": "it was very good", "bad": "the film was bad"},
)  # fmt: skip
TEXTS = [Example(f"a {word} film{dots}", word) for word in ("good", "bad") for dots in ("", ".", " .", ",")]


class Repeating:
    """A toy decoder that learns to repeat tokens."""

    targets = ["q_proj", "v_proj"]  # noqa: RUF012
    layers = 2

    def __init__(self, folder: Path) -> None:
        self.module = save_decoder(folder, "llama", "causal_lm")

    def loss(self, batch: Sequence[Example]) -> torch.Tensor:
        ids = torch.tensor([[3, 7, 7, 7, 7, 7]] * len(batch))
        loss: torch.Tensor = self.module(input_ids=ids, labels=ids).loss
        return loss

    def score(self, examples: Sequence[Example]) -> float:
        return float(self.loss(examples).exp())


def test_a_lora_of_the_top_layer_is_trained(tmp_path: Path) -> None:
    given = Training(rank=2, steps=30, batch=2, rate=0.1, held_out=4)
    row = trained("toy", Repeating(tmp_path / "model"), 1, given, TEXTS, TEXTS[:4], tmp_path / "lora")
    assert row.after < 0.9 * row.before
    assert (row.layers, row.rank, row.texts, row.held_out) == (1, 2, 8, 4)
    spec = read_model(tmp_path / "model", GenOptions(attention="softmax", head="causal_lm", label_words=("a", "b")))
    lora = read_lora(tmp_path / "lora", spec)
    assert lora.names == ("layers.1.q.weight", "layers.1.v.weight")
    assert lora.ranks == (2, 2)
    assert row.parameters == sum(change.down.size + change.up.size for change in lora.changes.values())


def test_a_classifier_in_every_way(tmp_path: Path) -> None:
    model = save_sentence_transformer(tmp_path / "model", "bert")
    save_lora(tmp_path / "lora", model, target_modules=["query", "value"], layers_to_transform=[1])
    rows = {way: private.measure(TASK, tmp_path / "model", tmp_path / "lora", way, TEXTS, 4, 2) for way in private.WAYS}
    assert {way: row.layers for way, row in rows.items()} == {"private": 2, "frozen": 1, "merged": 1, "factored": 1}
    for row in rows.values():
        assert row.error < 0.1
        assert (row.tested, row.private_tested, row.tokens) == (8, 4, 8)
        assert row.accuracy == rows["private"].accuracy
        assert row.model.endswith(" + lora")
    whole, frozen, merged, factored = rows.values()
    assert 1.5 < whole.megabytes / frozen.megabytes < 2.2
    assert frozen.megabytes == pytest.approx(merged.megabytes, rel=0.05)
    assert factored.megabytes > merged.megabytes
    assert factored.rounds > merged.rounds
    assert whole.secret_weights > frozen.secret_weights > merged.secret_weights > factored.secret_weights
