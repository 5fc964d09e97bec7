"""Tokens as text: characters in one piece, and nothing of a stop string."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.toy_decoders import save_byte_level
from secfwt.codegen.hub.tokenizer import load_tokenizer
from secfwt.runtime.generation.streaming import INCOMPLETE, Stream
from tokenizers import Tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    save_byte_level(tmp_path)
    return load_tokenizer(tmp_path)


def pieces(tokenizer: Tokenizer, text: str, stops: tuple[str, ...] = ()) -> tuple[list[str], Stream]:
    stream = Stream(tokenizer, tokenizer.encode("before").ids, stops)
    told = []
    for token in tokenizer.encode(text).ids:
        told.append(stream.add(token))
        if stream.stopped:
            break
    return [*told, stream.end()], stream


@pytest.mark.parametrize("text", ["a good film", " Grüße, 世界 🙂", "x"])
def test_pieces_add_up_to_the_text(tokenizer: Tokenizer, text: str) -> None:
    told, stream = pieces(tokenizer, text)
    assert "".join(told) == text == stream.text
    assert INCOMPLETE not in "".join(told)


def test_a_stop_string_is_not_told(tokenizer: Tokenizer) -> None:
    told, stream = pieces(tokenizer, "one, two. three", (". t", "zzz"))
    assert "".join(told) == "one, two" == stream.text
    assert stream.stopped
    told, stream = pieces(tokenizer, "one, two. ", (". t",))
    assert "".join(told) == "one, two. "
    assert not stream.stopped
