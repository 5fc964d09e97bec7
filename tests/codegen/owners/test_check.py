"""What the model owner learns before the data owner does: tokens, types and templates that do not fit the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.toys import save_toy
from secfwt.codegen.bundle import generate
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.embed import Embedder
from transformers import BertTokenizer

MASKED: dict[str, Any] = {"label_words": ("good", "bad"), "template": "{text} it was {mask}."}


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    for head in ("classification", "masked_lm"):
        save_toy(folder / head, "bert", head, num_hidden_layers=1, type_vocab_size=1)
    return folder


@pytest.fixture
def model(toys: Path, tmp_path: Path) -> Path:
    return shutil.copytree(toys / "classification", tmp_path / "model")


def refusal(model: Path, **options: Any) -> str:
    with pytest.raises(ProblemsFound) as found:
        generate(model, GenOptions(sequence_length=options.pop("sequence_length", 8), **options), model / "bundle")
    assert not (model / "bundle").exists()
    return str(found.value)


def test_tokens_beyond_the_word_table(model: Path) -> None:
    rows = len((model / "vocab.txt").read_text().splitlines())
    with (model / "vocab.txt").open("a") as file:
        file.write("new\nnewer\n")
    expected = f"the tokenizer's token 'new' has the number {rows}, the model has {rows} word embeddings"
    assert expected in refusal(model)


def test_a_tokenizer_without_special_tokens(model: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(model).backend_tokenizer
    content = json.loads(tokenizer.to_str()) | {"post_processor": None}
    (model / "tokenizer.json").write_text(json.dumps(content))
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert "adds no special tokens to an empty text" in refusal(model)
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    generate(model, GenOptions(sequence_length=8), model / "bundle")
    assert Embedder.open(model / "bundle" / "data_owner").tokenizer.encode("good").tokens == ["[CLS]", "good", "[SEP]"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("it was very", "It must hold {text}"),
        ("{sentence} it was", "{sentence} stands for nothing"),
        ("{text} {mask} {mask}", "{mask} more than once"),
        ("{text} {label}.", "{label} is not its end"),
        ("{label}: {text} {label}", "{label} is not its end"),
    ],
)
def test_templates_without_their_placeholders(template: str, expected: str) -> None:
    with pytest.raises(ProblemsFound) as found:
        GenOptions(template=template)
    assert f"--template is {template!r}" in str(found.value)
    assert expected in str(found.value)


def test_a_label_word_where_none_stands(toys: Path) -> None:
    template = {"template": "{text} {label}"}
    assert "It must hold {mask} where the label word stands" in refusal(toys / "masked_lm", **MASKED | template)
    assert "the head is classification" in refusal(toys / "classification", **template)
    with pytest.raises(ProblemsFound, match=r"leave \{label\} out"):
        GenOptions(**template, chat=True)


def test_a_template_that_leaves_no_room(toys: Path) -> None:
    assert "leaves no room for a text" in refusal(toys / "masked_lm", sequence_length=6, **MASKED)


def test_a_template_without_a_mask_token(model: Path) -> None:
    vocabulary = (model / "vocab.txt").read_text().replace("[MASK]", "[HIDDEN]")
    (model / "vocab.txt").write_text(vocabulary)
    (model / "tokenizer_config.json").write_text('{"mask_token": "[HIDDEN]"}')
    assert "no token for a masked word" in refusal(model, template="{text} {mask}")


def test_pairs_without_a_second_token_type(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    generate(model, GenOptions(sequence_length=8), model / "bundle")
    assert "note: a pair has 2 token types, the checkpoint 1: pairs of texts will be refused" in caplog.text
    embedder = Embedder.open(model / "bundle" / "data_owner")
    embedder.encode(["good"])
    with pytest.raises(ProblemsFound, match="text 1 is a pair: a pair has 2 token types"):
        embedder.encode([("good", "bad")])
