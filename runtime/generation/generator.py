"""One token after the other: the parties open what follows, the data owner draws, and gives the drawn token's row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...codegen.owners.continuations import Continuation
from ..engine import Floats
from ..errors import InputError
from .drafting import Drafter
from .engines import TextEngine
from .model import TextModel
from .sampling import Sampling, checked, drawn


@dataclass
class Counts:
    """What became of a text's steps."""

    steps: int = 0
    drafted: int = 0
    kept: int = 0
    """Of the drafted tokens those that stayed."""


class Generator:
    """Continues a text by tokens as one draws them from the model, with or without a draft: the distribution is the
    same."""

    def __init__(
        self, model: TextModel, engine: TextEngine, sampling: Sampling, rng: np.random.Generator,
        drafter: Drafter | None = None,
    ) -> None:  # fmt: skip
        self._model, self._engine, self._sampling, self._rng = model, engine, sampling, rng
        self._drafter = drafter
        self.counts = Counts()

    def tokens(
        self, text: Continuation, inputs: Mapping[str, NDArray[Any]], most: int, ends: Sequence[int]
    ) -> Iterator[int]:
        """At most `most` tokens, the last of `ends` if one comes. `inputs`: the text's, and the prompt's.

        Opens to the data owner what the text's last row and every row of a step say of the next token. The parties see
        at which place each step begins, so with a draft how many of its tokens stayed.
        """
        n = self._model.options.step_rows
        (chances,) = self._chances(self._engine.begin(inputs)[None])
        tokens = [drawn(chances, self._rng)]
        yield tokens[0]
        while len(tokens) < most and tokens[-1] not in ends:
            at = len(tokens) - 1
            drafted, guessed = self._drafts(tokens, min(n, most - len(tokens)) - 1)
            # a step has n rows: those behind the drafted ones are repeated, and not looked at
            asked = [*tokens, *drafted]
            rows = text.rows([*asked, *[asked[-1]] * (at + n - len(asked))], at)
            opened = self._engine.step(np.asarray(rows, np.float64), at)
            exact = self._chances(opened[: len(drafted) + 1])
            new = checked(exact, drafted, guessed, self._rng)
            self.counts.steps += 1
            self.counts.drafted += len(drafted)
            self.counts.kept += len(new) - 1
            for token in new:
                tokens.append(token)
                yield token
                if token in ends:
                    break

    def _drafts(self, tokens: Sequence[int], count: int) -> tuple[list[int], list[Floats]]:
        if self._drafter is None or count < 1:
            return [], []
        return self._drafter.draft(tokens, count, self._sampling, self._rng)

    def _chances(self, opened: Floats) -> list[Floats]:
        """Distributions `[V]` of rows."""
        logits = self._model.logits(opened)
        if not np.isfinite(logits).all():
            raise InputError("logits are not all finite: no token can be drawn")
        return [self._sampling.distribution(row) for row in logits]
