"""A public model in the clear that guesses what comes next: one step of the parties then checks all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...codegen.commandline.problems import Problem, ProblemsFound
from ..engine import Floats
from .engines import ClearText
from .model import TextModel
from .sampling import Sampling, drawn


class Drafter:
    """Drafts behind one text. What it sees stays at the data owner."""

    def __init__(self, model: TextModel, ids: Sequence[int]) -> None:
        """`ids`: the text's tokens. Raises ProblemsFound where there is no room for them."""
        if len(ids) > model.options.sequence_length:
            advice = f"The draft model takes {model.options.sequence_length}."
            raise ProblemsFound([Problem("error", f"the text has {len(ids)} tokens", advice)])
        self._model, self._engine = model, ClearText(model)
        self._text = model.continuation(ids)
        self._first = self._engine.begin(self._text.inputs)
        self._seen: list[int] = []

    def draft(
        self, behind: Sequence[int], count: int, sampling: Sampling, rng: np.random.Generator
    ) -> tuple[list[int], list[Floats]]:
        """`count` tokens behind the text and those `behind` it, each with the distribution `[V]` it was drawn from."""
        tokens: list[int] = []
        chances: list[Floats] = []
        for _ in range(count):
            chances.append(sampling.distribution(self._model.logits(self._next([*behind, *tokens]))))
            tokens.append(drawn(chances[-1], rng))
        return tokens, chances

    def _next(self, tokens: list[int]) -> Floats:
        """What the row of the last of `tokens` opens, which stand behind the text."""
        if not tokens:
            return self._first
        same = next((i for i, (a, b) in enumerate(zip(tokens, self._seen, strict=False)) if a != b), len(self._seen))
        start = min(same, len(tokens) - 1)
        opened = self._engine.step(np.asarray(self._text.rows(tokens, start), np.float64), start)
        self._seen = tokens
        last: Floats = opened[-1]
        return last


def check_draft(draft: TextModel, model: TextModel) -> None:
    """Raise ProblemsFound where the two models do not mean the same by a token's number."""
    if draft.embedder.tokenizer.get_vocab() != model.embedder.tokenizer.get_vocab():
        advice = "Draft with a model of the same family: the base that it was tuned from, or a smaller one."
        raise ProblemsFound([Problem("error", f"{draft.name} has another vocabulary than {model.name}", advice)])
    if draft.spec.vocab_size != model.spec.vocab_size:
        numbers = f"{draft.spec.vocab_size} and {model.spec.vocab_size}"
        raise ProblemsFound([Problem("error", f"{draft.name} and {model.name} have logits of {numbers} tokens")])
