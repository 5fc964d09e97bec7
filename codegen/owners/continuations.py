"""A text that a decoder continues, as the data owner lays it out: its rows, then those of the tokens behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..plan.graph import Plan
from .embed import Embedder
from .public_text import RANDOM_TEXTS, fitting_texts, reads
from .sequences import bare_ids

Floats = NDArray[np.float32]
MOST_ROWS = 30_000
"""Rows that a model is calibrated on, about: as many as the sentences that ship make with 70 rows each."""


class Continuation:
    """One text `ids`, template and all, of a program of `--head tokens`, and what is put behind it."""

    def __init__(self, embedder: Embedder, ids: Sequence[int]) -> None:
        assert embedder.settings.layout is not None
        self._embedder, self._layout = embedder, embedder.settings.layout
        self._x, self._mask, _ = self._layout.inputs(embedder.tables, [ids], embedder.settings.sequence_length)
        self.inputs = {"x": embedder.through_frozen(self._x, self._mask), "mask": self._mask}
        """`x` `[1, R, h]` and `mask` `[1, R]`."""
        self._through: Callable[[Floats, int], Floats] | None = None
        self._seen: list[int] = []
        self._done = np.zeros((0, self._x.shape[-1]), np.float32)

    def rows(self, behind: Sequence[int], start: int = 0) -> Floats:
        """Rows `[n, h]` of the tokens from `start` on, of all that stand `behind` the text."""
        first = round(float(self._mask.sum())) + 1
        rows = self._layout.rows(self._embedder.tables, behind, first)
        return (rows if self._embedder.frozen is None else self._frozen(rows, behind))[start:]

    def _frozen(self, rows: Floats, behind: Sequence[int]) -> Floats:
        """Rows behind the frozen layers; those of tokens that were asked for before are there."""
        if self._through is None:
            assert self._embedder.frozen is not None
            self._through = self._embedder.frozen.behind(self._x, self._mask)
        pairs = enumerate(zip(self._seen, behind, strict=False))
        same = next((i for i, (a, b) in pairs if a != b), min(len(self._seen), len(behind)))
        if same < len(behind):
            self._done = np.concatenate([self._done[:same], self._through(rows[same:], same)])
            self._seen = list(behind)
        return self._done[: len(behind)]


def of_texts(
    plan: Plan, spec: ModelSpec, options: GenOptions, embedder: Embedder, sentences: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """A plan's inputs for calibration: sentences, some alone, some with those that follow, and some cut short, each
    continued as far as a program goes; with prompts that a search begins with. Of random words where the tokenizer
    knows too few of these."""
    rng = np.random.default_rng(options.seed)
    whole_length = options.sequence_length + options.remembered_rows
    sentences = sentences[:: max(1, len(sentences) * whole_length // MOST_ROWS)]
    texts = fitting_texts(sentences, options)
    if reads(embedder, texts):
        end = embedder.settings.layout.template_rows if embedder.settings.layout else 0
        whole = [each.ids for each in embedder.tokenise(texts)[0]]
        ids = [_cut(text, end, rng) if i % 3 == 1 else text for i, text in enumerate(whole)]
        joined = " ".join(sentences)
        following = bare_ids(embedder.tokenizer, f"{joined} {joined}")
        starts = np.linspace(0, len(following) // 2, len(ids)).astype(int)
        behind = [following[start : start + options.remembered_rows] for start in starts]
    else:
        end = embedder.tokens(("", "")).ids
        lengths = rng.integers(1, max(2, options.sequence_length - len(end) + 1), RANDOM_TEXTS)
        ids = [[*rng.integers(spec.vocab_size, size=n).tolist(), *end] for n in lengths]
        behind = rng.integers(spec.vocab_size, size=(len(ids), options.remembered_rows)).tolist()
    laid_out = [Continuation(embedder, each) for each in ids]
    inputs: dict[str, NDArray[Any]] = {
        name: np.concatenate([each.inputs[name] for each in laid_out]) for name in ("x", "mask")
    }
    inputs["rows"] = np.stack([each.rows(after) for each, after in zip(laid_out, behind, strict=True)])
    for v in plan.inputs("example"):
        if v.attrs["name"] == "z":
            inputs["z"] = rng.normal(size=(len(ids), v.size)) * (np.arange(len(ids)) % 3 > 0)[:, None]
    return inputs


def _cut(ids: Sequence[int], end: int, rng: np.random.Generator) -> list[int]:
    """The first tokens of a text, and the template's `end` last ones."""
    text = len(ids) - end
    return [*ids[: int(rng.integers(1, text + 1))], *ids[text:]] if text else list(ids)
