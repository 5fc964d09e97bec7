"""Tokens that a decoder ends its texts with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..commandline.problems import Report
from .files import optional_json
from .gguf import gguf_file, open_gguf
from .layout import transformer_folder

FILES = ("generation_config.json", "config.json")
"""Where a folder says it; the first that does counts, as in `transformers`."""
GGUF = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")


def end_ids(model: Path, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Numbers of a model's end tokens that its tokenizer has; none where it says nothing. Raises `ProblemsFound`."""
    found: list[Any] = []
    if (file := gguf_file(model)) is not None:
        found = [open_gguf(file).setting(name) for name in GGUF]
    else:
        folder, report = transformer_folder(model), Report()
        for name in FILES:
            said = optional_json(folder / name, report).get("eos_token_id")
            if said is not None:
                found = said if isinstance(said, list) else [said]
                break
        report.check()
    known = (n for n in found if isinstance(n, int) and tokenizer.id_to_token(n) is not None)
    return tuple(dict.fromkeys(known))
