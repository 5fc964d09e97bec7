"""`TextGenerator`: the same text as the command's, and parties that end."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from helpers.toy_decoders import save_decoder
from secfwt import TextGenerator
from secfwt.runtime.errors import SecfwtError


def parties() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_texts_on_parties_that_stay_and_end(tmp_path: Path) -> None:
    save_decoder(tmp_path, "gpt2", "causal_lm")
    before = len(parties())
    chosen = {"model": str(tmp_path), "max_new_tokens": 5, "sequence_length": 16}
    clear = TextGenerator(**chosen, engine="clear")
    texts = ["a good film", "the news was"]
    expected = [clear.generate(text) for text in texts]
    with TextGenerator(**chosen) as private:
        assert "".join(private.stream(texts[0])) == expected[0]
        assert private.generate(texts[1]) == expected[1]
        assert len(parties()) == before + 3
    assert len(parties()) == before


def test_parameters_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SecfwtError, match="no model is given"):
        TextGenerator()
    with pytest.raises(SecfwtError, match="--top-p is 0"):
        TextGenerator(model=str(tmp_path), top_p=0)
