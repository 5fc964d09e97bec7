"""The data owner's folder: templates, cutting, and reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import save_sentence_transformer, save_tokenizer, save_toy
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.hub.tokenizer import label_token_ids, load_tokenizer
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.embed import Embedder
from secfwt.codegen.owners.prepare import prepare_weights

MASKED = {"label_words": ("good", "bad"), "template": "{text} it was {mask}."}


def owner(directory: Path, family: str, head: str = "classification", **options: Any) -> Embedder:
    save_toy(directory, family, head)
    chosen = GenOptions(sequence_length=options.pop("sequence_length", 12), **options)
    spec = read_model(directory, chosen)
    prepare_weights(directory, spec, chosen)[1].save(directory / "owner")
    return Embedder.open(directory / "owner")


def tokens(embedder: Embedder, text: Any) -> list[str]:
    """The tokens whose rows `encode` gives, found again by their embeddings."""
    inputs, _ = embedder.encode([text])
    every = [[i] for i in range(embedder.tokenizer.get_vocab_size())]
    settings = embedder.settings
    names = []
    for t in range(int(inputs["mask"][0].sum())):
        ids = [[0] * t + row for row in every]
        rows = embedder.embed(ids, [[0] * len(row) for row in ids])["x"][:, t]
        names.append(embedder.tokenizer.id_to_token(int(np.square(rows - inputs["x"][0, t]).sum(-1).argmin())))
    assert len(names) <= settings.sequence_length
    return names


def test_rows_are_the_embedding_layers_before_its_affine_part(tmp_path: Path) -> None:
    model = save_toy(tmp_path, "roberta", "classification")
    options = GenOptions(sequence_length=10)
    spec = read_model(tmp_path, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    inputs, problems = embedder.encode(["bad"], ["LABEL_1"])
    assert not problems
    ids = torch.tensor([embedder.tokenizer.encode("bad").ids])
    with torch.no_grad():
        expected = model.roberta.embeddings(ids)[0].numpy()
    rows = inputs["x"][0, : ids.shape[1]] * weights["embeddings.gamma"] + weights["embeddings.beta"]
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert inputs["mask"][0].tolist() == [1.0] * ids.shape[1] + [0.0] * (10 - ids.shape[1])
    assert inputs["labels"].tolist() == [[0.0, 1.0]]
    assert inputs["example_weight"].tolist() == [[1.0]]
    assert "select" not in inputs


@pytest.mark.parametrize("frozen", [0, 1])
def test_padding_rows_are_zero(tmp_path: Path, frozen: int) -> None:
    embedder = owner(tmp_path, "bert", "classification", frozen_layers=frozen, n_prompt_tokens=0)
    inputs, _ = embedder.encode(["bad", "a very good film"])
    padding = inputs["mask"] == 0
    assert padding.any()
    assert (embedder.frozen is not None) == bool(frozen)
    assert not inputs["x"][padding].any()
    assert inputs["x"][~padding].any(axis=-1).all()


def test_a_long_text_is_cut_and_the_template_stays_whole(tmp_path: Path) -> None:
    embedder = owner(tmp_path, "bert", "masked_lm", **MASKED)
    assert tokens(embedder, "a film") == ["[CLS]", "a", "film", "it", "was", "[MASK]", ".", "[SEP]"]
    long = "very " * 20
    assert tokens(embedder, long) == ["[CLS]", *["very"] * 6, "it", "was", "[MASK]", ".", "[SEP]"]
    inputs, problems = embedder.encode(["a film", long])
    assert inputs["select"].sum(-1).tolist() == [1.0, 1.0]
    assert inputs["select"].argmax(-1).tolist() == [5, 9]
    assert "1 of 2 texts are longer than 12 tokens" in str(problems[0])
    assert "number 2" in problems[0].detail


def test_pairs_lose_tokens_from_the_longer_text(tmp_path: Path) -> None:
    embedder = owner(tmp_path, "bert")
    pair = ("good " * 20, "bad film")
    inputs, problems = embedder.encode([pair])
    assert inputs["mask"].sum() == 12
    assert len(problems) == 1
    short = owner(tmp_path / "short", "bert", label_texts=("good", "bad"), sequence_length=8)
    for pair, kept in (
        (("good " * 9, "bad film"), "[CLS] good good good [SEP] bad film [SEP]"),
        (("good", "bad " * 9), "[CLS] good [SEP] bad bad bad bad [SEP]"),
        (("good " * 9, "bad " * 9), "[CLS] good good [SEP] bad bad bad [SEP]"),
    ):
        whole, _ = short.encode([pair])
        ids = [[short.tokenizer.token_to_id(token) for token in kept.split()]]
        first = kept.split().index("[SEP]") + 1
        expected = short.embed(ids, [[0] * first + [1] * (8 - first)])
        np.testing.assert_array_equal(whole["x"], expected["x"])


def test_a_pair_template(tmp_path: Path) -> None:
    embedder = owner(tmp_path, "bert", "masked_lm", label_words=("good", "bad"), template="{text} {mask}, {text_b}")
    assert tokens(embedder, ("a {mask}film", "the news")) == [
        "[CLS]", "a", "[UNK]", "[UNK]", "[UNK]", "film", "[MASK]", ",", "the", "news", "[SEP]",
    ]  # fmt: skip
    with pytest.raises(ProblemsFound, match="text 1 is one text, the template is"):
        embedder.encode(["a film"])


def test_a_prompt_stands_before_every_text_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_sentence_transformer(tmp_path, "bert")
    content = {"prompts": {"query": "news , "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(content))
    options = GenOptions(sequence_length=8, label_texts=("good film", "bad film"))
    spec = read_model(tmp_path, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    assert "note: 'news , ' stands before every text" in caplog.text
    assert tokens(embedder, "a film") == ["[CLS]", "news", ",", "a", "film", "[SEP]"]
    assert tokens(embedder, "very " * 9) == ["[CLS]", "news", ",", *["very"] * 4, "[SEP]"]
    by_hand = replace(options, template="news , {text}")
    plain, _ = prepare_weights(tmp_path, read_model(tmp_path, by_hand), by_hand)
    np.testing.assert_array_equal(weights["head.prototypes"], plain["head.prototypes"])


def test_mean_weights_leave_padding_out(tmp_path: Path) -> None:
    embedder = owner(tmp_path, "distilbert", "prototypes", label_texts=("good", "bad"))
    inputs, _ = embedder.encode(["a film", "it was the very good film"])
    np.testing.assert_allclose(inputs["select"].sum(-1), 1, rtol=1e-6)
    assert ((inputs["select"] > 0) == (inputs["mask"] > 0)).all()


def test_reports(tmp_path: Path) -> None:
    embedder = owner(tmp_path, "bert", "masked_lm", labels=("yes", "no"), **MASKED)
    with pytest.raises(ProblemsFound) as found:
        embedder.encode(["a [MASK] film", " "], ["yes", "maybe"])
    for part in (
        "text 1 holds [MASK]",
        "text 2 is empty",
        "label 'maybe' is not one of the model's",
        "Accepted: yes, no.",
    ):
        assert part in str(found.value)
    with pytest.raises(ProblemsFound, match="--sequence-length is 5: the template alone is longer"):
        owner(tmp_path / "short", "bert", "masked_lm", sequence_length=5, n_prompt_tokens=0, **MASKED).encode(["a"])


def test_label_words_must_be_single_tokens(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, byte_level=True)
    tokenizer = load_tokenizer(tmp_path)
    assert label_token_ids(tokenizer, ["good", "bad"]) == [tokenizer.token_to_id(t) for t in ("Ġgood", "Ġbad")]
    with pytest.raises(ProblemsFound, match="label word 'film' is 5 tokens: Ġ, f, i, l, m"):
        label_token_ids(tokenizer, ["good", "film"])


def test_a_folder_without_its_parts(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match=r"there is no tokenizer\.json"):
        Embedder.open(tmp_path)
    save_tokenizer(tmp_path, byte_level=False)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    load_tokenizer(tmp_path).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ProblemsFound, match="cannot read the data owner's folder"):
        Embedder.open(tmp_path)
