"""Text of toys, measured; nothing is timed here."""

from __future__ import annotations

import argparse
from pathlib import Path

from helpers.toy_decoders import save_decoder

from performance import text


def test_a_draft_takes_steps_and_rounds(tmp_path: Path) -> None:
    save_decoder(tmp_path, "gpt2", "causal_lm")
    # a text whose likeliest tokens lead by far, so that noise decides on none
    options = argparse.Namespace(model=str(tmp_path), lora="", draft="", prompt="the new film", tokens=7)
    alone = text.measure(options, 0)
    options.draft = str(tmp_path)
    together = text.measure(options, 2)
    assert (alone.steps, alone.drafted, alone.tokens, alone.draft_tokens) == (6, 0, 7, 0)
    assert (together.steps, together.kept, together.drafted, together.tokens) == (2, 4, 4, 7)
    assert together.rounds_per_token < 0.4 * alone.rounds_per_token
    assert max(alone.error, together.error) < 0.1
    assert alone.text_megabytes > alone.megabytes_per_token
