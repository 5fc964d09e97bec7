"""Whether tokenizer, tables and settings belong together: the model owner learns here what some text would show to the
data owner much later."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from ..commandline.problems import Report, note
from ..hub.tokenizer import MASKS, load_tokenizer
from ..model.spec import ModelSpec
from .embed import Embedder


def fitting_tokenizer(model: Path, spec: ModelSpec) -> Tokenizer:
    """The tokenizer of a model folder. Raises `ProblemsFound` where it is not one for that model."""
    tokenizer = load_tokenizer(model)
    report = Report()
    rows = spec.vocab_size
    beyond = {token: number for token, number in tokenizer.get_vocab().items() if number >= rows}
    if beyond:
        token = min(beyond, key=lambda token: beyond[token])
        report.error(
            f"the tokenizer's token {token!r} has the number {beyond[token]}, the model has {rows} word embeddings",
            "Give the tokenizer that the checkpoint was saved with: all its numbers lie inside the table.",
        )
    around = tokenizer.encode("").tokens
    if len(around) < 2 and not spec.causal:
        report.error(
            f"the tokenizer adds {' '.join(around) or 'no special tokens'} to an empty text",
            "It must put one before and one behind every text, as [CLS] and [SEP] (post_processor in tokenizer.json).",
        )
    report.check()
    return tokenizer


def check_embedder(embedder: Embedder) -> None:
    """Raise `ProblemsFound` where the template would embed all texts alike; say what the tables have no rows for."""
    report = Report()
    template, length = embedder.settings.template, embedder.settings.sequence_length
    alone = len(embedder.tokens(("", "") if "{text_b}" in template else ("",)).ids)
    if template and alone >= length:
        report.error(
            f"--sequence-length is {length}: the template alone is longer, or leaves no room for a text",
            f"The template takes {alone} tokens.",
        )
    if not embedder.mask and ("{mask}" in template or embedder.settings.rows == "select"):
        report.error("the tokenizer has no token for a masked word", f"Accepted: {' or '.join(MASKS)}.")
    report.check()
    if not template and embedder.settings.layout is None and (missing := embedder.missing_type()):
        note(f"{missing}: pairs of texts will be refused")
