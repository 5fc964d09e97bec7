"""Tokenizers as the `tokenizers` library has them, from any of the forms that BERT-like checkpoints ship."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from tokenizers.processors import BertProcessing, RobertaProcessing

from ..commandline.problems import Report

MASKS = ("[MASK]", "<mask>")


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer in a model directory: `tokenizer.json`, WordPiece `vocab.txt`, or BPE `vocab.json`, `merges.txt`.

    It neither pads nor truncates. Raises `ProblemsFound` when there is none.
    """
    report = Report()
    try:
        if (directory / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        elif (directory / "vocab.txt").is_file():
            tokenizer = _wordpiece(directory)
        elif (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
            tokenizer = _byte_level(directory)
        else:
            report.error(
                f"there is no tokenizer in {directory}",
                "Accepted: tokenizer.json, or vocab.txt, or vocab.json with merges.txt.",
            )
    except Exception as e:  # the library raises plain Exception
        report.error(f"cannot read the tokenizer in {directory}: {e}")
    report.check()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def mask_token(tokenizer: Tokenizer) -> str | None:
    """The token that stands for a masked word."""
    return next((mask for mask in MASKS if tokenizer.token_to_id(mask) is not None), None)


def label_token_ids(tokenizer: Tokenizer, words: Sequence[str]) -> list[int]:
    """The token of every label word as it stands inside a sentence. Raises `ProblemsFound` for words of several."""
    report = Report()
    ids = []
    for word in words:
        encoding = tokenizer.encode(f" {word}", add_special_tokens=False)
        exact = tokenizer.token_to_id(word)
        if len(encoding.ids) == 1:
            ids.append(encoding.ids[0])
        elif exact is not None:
            ids.append(exact)
        else:
            report.error(
                f"label word {word!r} is {len(encoding.ids)} tokens: {', '.join(encoding.tokens)}", "It must be one."
            )
    if not report.failed and len(set(ids)) != len(ids):
        report.error(f"label words {', '.join(words)} are not different tokens")
    report.check()
    return ids


def _wordpiece(directory: Path) -> Tokenizer:
    config = _config(directory)
    lower = bool(config.get("do_lower_case", True))
    tokenizer = Tokenizer(
        WordPiece.from_file(str(directory / "vocab.txt"), unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = BertNormalizer(
        lowercase=lower, strip_accents=config.get("strip_accents"),
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
    )  # fmt: skip
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(_special(tokenizer, "[SEP]"), _special(tokenizer, "[CLS]"))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer


def _byte_level(directory: Path) -> Tokenizer:
    tokenizer = Tokenizer(BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt")))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=bool(_config(directory).get("add_prefix_space", False)))
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.post_processor = RobertaProcessing(
        _special(tokenizer, "</s>"), _special(tokenizer, "<s>"), trim_offsets=True, add_prefix_space=False
    )
    # The mask takes the space before it, as words do.
    masks = AddedToken("<mask>", lstrip=True, special=True)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", masks])
    return tokenizer


def _special(tokenizer: Tokenizer, token: str) -> tuple[str, int]:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"the vocabulary lacks {token}")
    return token, number


def _config(directory: Path) -> dict[str, Any]:
    path = directory / "tokenizer_config.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
