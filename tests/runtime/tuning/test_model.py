"""What a run takes of a decoder where nothing is said: its head, its label words, its prompt's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy_decoders import save_decoder
from helpers.toys import save_sentence_transformer, save_toy
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.hub.tokenizer import following_ids, load_tokenizer
from secfwt.codegen.model.compatibility import choose_shots
from secfwt.runtime.tuning.model import load_model
from secfwt.runtime.tuning.objective import PromptSpace
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.session import own_options

LABELS = ["bad", "good"]
OPTIONS = {"sequence_length": 36, "n_prompt_tokens": 2, "prompt_layer": 0, "engine": "clear"}
TEXTS = ("bad=bad film", "good=good film")


@pytest.mark.parametrize(
    ("saved", "more", "head"),
    [
        ("causal_lm", {}, "causal_lm"), ("causal_lm", {"label_texts": TEXTS}, "prototypes"),
        ("prototypes", {}, "prototypes"), ("classification", {}, "classification"),
    ],
)  # fmt: skip
def test_a_decoder_keeps_its_own_head_unless_texts_are_given(
    saved: str, more: dict[str, Any], head: str, tmp_path: Path
) -> None:
    config = {"id2label": {0: "bad", 1: "good"}} if saved == "classification" else {}
    save_decoder(tmp_path, "llama", saved, **config)
    model = load_model(TuneOptions(model=str(tmp_path), **OPTIONS, **more), LABELS)
    assert (model.spec.head.kind, model.spec.head.labels) == (head, ("bad", "good"))
    assert model.options.label_words == (("bad", "good") if head == "causal_lm" else ())


def test_label_words_are_the_tokens_that_follow_the_template(tmp_path: Path) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    tokenizer = load_tokenizer(tmp_path)
    spaced, bare = (following_ids(tokenizer, ["good", "bad"], space) for space in (" ", ""))
    assert [tokenizer.id_to_token(i) for i in spaced] == ["Ġgood", "Ġbad"]
    assert [tokenizer.id_to_token(i) for i in bare] == ["g", "b"]
    model = load_model(TuneOptions(model=str(tmp_path), template="{text} So", **OPTIONS), LABELS)
    assert model.weights is not None
    words = model.weights["embeddings.word"]
    assert (model.weights["head.out.weight"] == words[[spaced[1], spaced[0]]]).all()
    for template, first in (("{text} So ", bare), ("{text} So {label}", spaced), ("{text} So{label}", bare)):
        placed = load_model(TuneOptions(model=str(tmp_path), template=template, **OPTIONS), LABELS)
        assert placed.weights is not None
        assert (placed.weights["head.out.weight"] == words[[first[1], first[0]]]).all()
        if "{label}" in template:
            read, expected = (each.embedder.encode(["a film"])[0]["x"] for each in (placed, model))
            np.testing.assert_array_equal(read, expected)
    with pytest.raises(ProblemsFound, match="label words begin with the same token"):
        load_model(TuneOptions(model=str(tmp_path), **OPTIONS), ["World", "Sports"])


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"template": "Film: {text} So"}, ("template", 3, 2, 1.0)), ({}, ("end", 4, 2, 1.0)),
        ({"template": "{text} So", "n_prompt_tokens": 1, "alpha": 2.0}, ("template", 1, 2, 2.0)),
        ({"template": "{text} So", "prompt_at": "end", "prompt_layer": 0}, ("end", 4, 0, 3.0)),
    ],
)  # fmt: skip
def test_a_decoders_prompt_stands_where_it_does_well(
    given: dict[str, Any], chosen: tuple[object, ...], tmp_path: Path
) -> None:
    save_decoder(tmp_path, "llama", "causal_lm", num_hidden_layers=5)
    data = tmp_path / "train.tsv"
    data.write_text("text\tlabel\n" + "".join(f"film number {i}\t{label}\n" for i in range(9) for label in LABELS))
    options, line = own_options({"model": str(tmp_path), "data": str(data), **given}, "quick")
    assert (options.prompt_at, options.n_prompt_tokens, options.prompt_layer, options.alpha) == chosen
    assert ("at layer 2 (--prompt-layer)" in line) == ("prompt_layer" not in given)


@pytest.mark.parametrize(
    ("given", "weight"), [({}, 4.0), *(({"prototype_shots": most}, most) for most in (0.0, 0.5, 9.0))]
)
@pytest.mark.parametrize("head", ["prototypes", "words"])
def test_shots_take_part_in_label_texts_and_words(
    head: str, given: dict[str, Any], weight: float, tmp_path: Path
) -> None:
    if head == "words":
        save_decoder(tmp_path, "llama", "causal_lm")
    else:
        save_sentence_transformer(tmp_path, "bert")
    model = load_model(TuneOptions(model=str(tmp_path), **(OPTIONS | {"sequence_length": 8} | given)), LABELS)
    assert model.options.prototype_shots == PromptSpace(model.plan, 1.0).most_shots == weight
    asked = model.options if given else replace(model.options, prototype_shots=None)
    assert choose_shots(model.spec, asked, kept=False).prototype_shots == (weight if given else 0.0)
    start = replace(asked, prompt_at="start")
    assert choose_shots(model.spec, start, kept=True).prototype_shots == (weight if given else 0.0)


def test_shots_take_no_part_in_a_classifier(tmp_path: Path) -> None:
    save_toy(tmp_path, "bert", "classification")
    model = load_model(TuneOptions(model=str(tmp_path), **(OPTIONS | {"sequence_length": 8})), ["LABEL_0", "LABEL_1"])
    assert model.options.prototype_shots == 0.0
