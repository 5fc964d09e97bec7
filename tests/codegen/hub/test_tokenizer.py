"""Tokenizers of model folders against `transformers`: a grid of the files that folders hold, and what is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.toys import save_tokenizer
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.hub.tokenizer import load_tokenizer, mask_token
from transformers import AutoTokenizer, BertTokenizer, CamembertTokenizer, RobertaTokenizer, XLMRobertaTokenizer

TEXTS = [
    "a good film", "The film was VERY bad.", "it,", "news of the wörld", " good  film\t[MASK]<mask> .", "日good",
    "@user good http_url bad", "[mask] [SEP]", "",
]  # fmt: skip
PIECES = [
    ("▁good", -1.0),
    ("▁bad", -2.0),
    ("▁", -3.0),
    *((letter, -4.0 - i / 10) for i, letter in enumerate("afgilmo")),
]
FAMILIES = {"wordpiece": "bert", "byte_level": "roberta", "xlm_roberta": "xlm-roberta", "camembert": "camembert"}
Folder = Callable[..., Path]


def write(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes a tokenizer of a kind in a folder of its family, with the content of further JSON files by name."""

    def make(kind: str, **files: dict[str, Any]) -> Path:
        write(tmp_path / "config.json", model_type=FAMILIES[kind])
        if kind in ("wordpiece", "byte_level"):
            save_tokenizer(tmp_path, kind == "byte_level")
            (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
        else:
            unigram(kind).save_pretrained(tmp_path)
        for name, content in files.items():
            write(tmp_path / f"{name}.json", **content)
        return tmp_path

    return make


def unigram(kind: str) -> Any:
    if kind == "xlm_roberta":
        first = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
        return XLMRobertaTokenizer(vocab=[*first, *PIECES, ("<mask>", 0.0)])
    names = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>"]
    first = [*((name, 0.0) for name in names), ("<unk>NOTUSED", -100.0), ("<s>", 0.0), ("</s>", 0.0)]
    return CamembertTokenizer(vocab=[*first, *PIECES, ("<mask>", 0.0)])


def check_same(directory: Path, theirs: Any = None) -> None:
    """Token ids of texts and pairs, and token types where `transformers` gives any, are equal."""
    theirs = theirs or AutoTokenizer.from_pretrained(directory)
    ours = load_tokenizer(directory)
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"], text
        pair, expected = ours.encode(text, "a film"), theirs(text, "a film")
        assert pair.ids == expected["input_ids"], text
        assert pair.type_ids == expected.get("token_type_ids", [0] * len(pair.ids)), text


@pytest.mark.parametrize(
    "settings",
    [
        None, {}, {"do_lower_case": False}, {"strip_accents": False}, {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False}, {"tokenizer_class": "DistilBertTokenizer"},
        {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False}, {"tokenizer_class": "ElectraTokenizer"},
        {"additional_special_tokens": ["@user", "http_url"]}, {"model_input_names": ["input_ids", "attention_mask"]},
        {"mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": True}, "extra_special_tokens": ["very"]},
        {"added_tokens_decoder": {"26": {"content": "@user"}, "27": {"content": "http_url", "special": True}}},
        {"unk_token": "good", "cls_token": "a", "sep_token": "bad", "pad_token": None},
    ],
)  # fmt: skip
@pytest.mark.parametrize("stored", [False, True], ids=["vocab.txt", "tokenizer.json"])
def test_wordpiece(settings: dict[str, Any] | None, stored: bool, folder: Folder) -> None:
    """With tokenizer.json, tokenizer_config.json contradicts it: what that says counts."""
    directory = folder("wordpiece", **({} if settings is None else {"tokenizer_config": settings}))
    if stored:
        other = BertTokenizer.from_pretrained(directory, do_lower_case=False, tokenize_chinese_chars=False)
        other.backend_tokenizer.save(str(directory / "tokenizer.json"))
    check_same(directory)


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}])
def test_added_tokens_beside_a_vocabulary(settings: dict[str, Any], folder: Folder) -> None:
    special = {"unk_token": "[UNK]", "mask_token": {"content": "[MASK]", "lstrip": True}}
    more = {"additional_special_tokens": ["http_url"]}
    directory = folder(
        "wordpiece", tokenizer_config=settings, added_tokens={"@user": 26, "http_url": 27},
        special_tokens_map=special | more,
    )  # fmt: skip
    check_same(directory)
    assert load_tokenizer(directory).encode("@user").ids == [2, 26, 3]


@pytest.mark.parametrize("settings", [{}, {"add_prefix_space": True}, {"tokenizer_class": "RobertaTokenizerFast"}])
@pytest.mark.parametrize("stored", [False, True], ids=["vocab.json", "tokenizer.json"])
def test_byte_level(settings: dict[str, Any], stored: bool, folder: Folder) -> None:
    directory = folder("byte_level", tokenizer_config=settings)
    if stored:
        RobertaTokenizer.from_pretrained(directory).backend_tokenizer.save(str(directory / "tokenizer.json"))
    check_same(directory)


@pytest.mark.parametrize("kind", ["xlm_roberta", "camembert"])
def test_unigram(kind: str, folder: Folder) -> None:
    check_same(folder(kind))


def test_tokenizer_json_as_it_is(folder: Folder) -> None:
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False, "extra_special_tokens": ["@user"]}
    directory = folder("wordpiece")
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    BertTokenizer.from_pretrained(directory).backend_tokenizer.save(str(directory / "tokenizer.json"))
    write(directory / "tokenizer_config.json", **settings, **names)
    check_same(directory)
    assert load_tokenizer(directory).encode("GOOD").tokens == ["[CLS]", "good", "[SEP]"]


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol buffer; messages here are shorter than 128 bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


@pytest.mark.parametrize("kind", ["xlm_roberta", "camembert"])
def test_sentencepiece(kind: str, tmp_path: Path) -> None:
    """A SentencePiece model alone is the tokenizer that its pieces make in `transformers`."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *((*piece, 1) for piece in PIECES)]
    model = b"".join(
        field(1, field(1, text.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + field(3, number))
        for text, score, number in pieces
    )
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model + field(2, field(3, 1)) + field(3, field(1, b"identity")))
    write(tmp_path / "config.json", model_type=FAMILIES[kind])
    check_same(tmp_path, unigram(kind))
    write(tmp_path / "config.json", model_type="roberta")
    with pytest.raises(ProblemsFound, match=r"needs vocab\.json or tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_the_mask_takes_the_space_before_it(folder: Folder) -> None:
    tokenizer = load_tokenizer(folder("byte_level"))
    assert "Ġ" not in tokenizer.encode("good <mask>").tokens
    assert mask_token(tokenizer) == "<mask>"


@pytest.mark.parametrize(
    "name", ["BertJapaneseTokenizer", "KoBertTokenizer", "BertweetTokenizer", "HerbertTokenizerFast"]
)
@pytest.mark.parametrize("source", ["tokenizer_config", "config"])
def test_a_class_that_is_not_understood_is_refused_by_name(name: str, source: str, folder: Folder) -> None:
    directory = folder("wordpiece", **{source: {"model_type": "bert", "tokenizer_class": name}})
    with pytest.raises(ProblemsFound) as found:
        load_tokenizer(directory)
    assert f"{source}.json: tokenizer_class is {name!r}" in str(found.value)
    assert "Accepted: BertTokenizer, " in str(found.value)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tokenizer_config", {"auto_map": {"AutoTokenizer": ["x.Tokenizer", None]}}, "auto_map is"),
        ("tokenizer_config", {"split_special_tokens": True}, "split_special_tokens is true"),
        ("tokenizer_config", {"cls_token": None}, "cls_token is null"),
        ("added_tokens", {"@user": 40}, "'@user' has the number 40 there, and 26 by its place"),
        ("config", {"model_type": "roberta"}, "needs vocab.json or tokenizer.json"),
    ],
)  # fmt: skip
def test_what_would_be_read_wrong_is_refused(name: str, content: dict[str, Any], expected: str, folder: Folder) -> None:
    with pytest.raises(ProblemsFound, match=expected):
        load_tokenizer(folder("wordpiece", **{name: content}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pre_tokenizer": {"type": "WhitespaceSplit"}}, "has the pre_tokenizer WhitespaceSplit, BertTokenizer"),
        ({"normalizer": {"type": "NFC"}}, "has the normalizer NFC"),
        (
            {"model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}, "added_tokens": []},
            "holds a WordLevel model, BertTokenizer .* is WordPiece",
        ),
    ],
)  # fmt: skip
def test_a_tokenizer_json_of_another_class(change: dict[str, Any], expected: str, folder: Folder) -> None:
    directory = folder("wordpiece")
    path = directory / "tokenizer.json"
    BertTokenizer.from_pretrained(directory).backend_tokenizer.save(str(path))
    write(path, **(json.loads(path.read_text()) | change | {"post_processor": None}))
    with pytest.raises(ProblemsFound, match=expected):
        load_tokenizer(directory)


def test_unigram_steps_that_only_tidy_spaces_are_the_classes(folder: Folder) -> None:
    directory = folder("xlm_roberta")
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text())
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    content["pre_tokenizer"] = content["pre_tokenizer"]["pretokenizers"][1]
    write(path, **(content | {"normalizer": {"type": "Sequence", "normalizers": [spaces]}}))
    check_same(directory)
    write(path, **(content | {"normalizer": {"type": "Sequence", "normalizers": [spaces, {"type": "Lowercase"}]}}))
    with pytest.raises(ProblemsFound, match=r"has the normalizer Replace \+ Lowercase, XLMRobertaTokenizer"):
        load_tokenizer(directory)


@pytest.mark.parametrize(
    ("vocabulary", "expected"),
    [
        ("[PAD] [CLS] [SEP] [MASK] good ##s", r"Missing \[UNK\]"),
        ("[PAD] [UNK] [CLS] [SEP] [MASK] ▁good bad", "SentencePiece's"),
    ],
)
def test_vocabularies_that_are_not_wordpieces(vocabulary: str, expected: str, folder: Folder) -> None:
    directory = folder("wordpiece")
    (directory / "vocab.txt").write_text("\n".join(vocabulary.split()) + "\n")
    with pytest.raises(ProblemsFound, match=expected):
        load_tokenizer(directory)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json", "tokenizer_config.json"])
def test_lfs_pointers_are_named(name: str, folder: Folder) -> None:
    directory = folder("wordpiece")
    (directory / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ProblemsFound, match=f"{name} is a Git LFS pointer"):
        load_tokenizer(directory)


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sentence_bert_config", {"do_lower_case": True}),
        ("sentence_roberta_config", {"do_lower_case": True}),
        ("sentence_bert_config", {"tokenizer_args": {"do_lower_case": True}}),
    ],
)
def test_sentence_transformers_lowers_texts_first(
    inner: str, name: str, content: dict[str, Any], folder: Folder
) -> None:
    directory = folder("wordpiece", tokenizer_config={"do_lower_case": False}, **{name: content})
    if inner:
        parts = list(directory.iterdir())
        (directory / inner).mkdir()
        for part in parts:
            part.rename(directory / inner / part.name)
    (directory / "modules.json").write_text(
        json.dumps([{"type": "sentence_transformers.models.Transformer", "path": inner}])
    )
    tokenizer = load_tokenizer(directory)
    assert tokenizer.encode("The FILM was [MASK]").tokens == ["[CLS]", "the", "film", "was", "[MASK]", "[SEP]"]


def test_fastbpe_is_named(folder: Folder) -> None:
    directory = folder("wordpiece", config={"model_type": "roberta"})
    (directory / "bpe.codes").touch()
    with pytest.raises(ProblemsFound, match=r"vocab.txt and bpe.codes are fastBPE's"):
        load_tokenizer(directory)
