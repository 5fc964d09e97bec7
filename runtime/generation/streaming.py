"""Tokens as text while they come: whole characters only, and nothing of what may become a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

BEFORE = 4
"""Tokens of the text before that are decoded as well: what a token says may depend on whether one stands before it."""
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class Stream:
    """What tokens behind a text say."""

    def __init__(self, tokenizer: Tokenizer, ids: Sequence[int], stops: Sequence[str] = ()) -> None:
        """`ids`: the text's tokens."""
        self._tokenizer, self._stops = tokenizer, stops
        self._before = list(ids[-BEFORE:])
        self._known = len(self._decoded([]))
        self._tokens: list[int] = []
        self._told = 0
        self.stopped = False
        """Whether a stop string has come."""

    def add(self, token: int) -> str:
        """One more token; what can be said now."""
        self._tokens.append(token)
        return self._tell(final=False)

    def end(self) -> str:
        """What was held back."""
        return "" if self.stopped else self._tell(final=True)

    @property
    def text(self) -> str:
        """All that was told."""
        return self._decoded(self._tokens)[self._known :][: self._told]

    def _tell(self, final: bool) -> str:
        text = self._decoded(self._tokens)[self._known :]
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, end = True, min(places)
        elif final:
            end = len(text)
        else:
            whole = text.rstrip(INCOMPLETE)
            end = len(whole) - max((_begun(whole, stop) for stop in self._stops), default=0)
        told, self._told = text[self._told : end], max(self._told, end)
        return told

    def _decoded(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode([*self._before, *tokens], skip_special_tokens=True))


def _begun(text: str, stop: str) -> int:
    """How much of `stop` the end of `text` may be the beginning of."""
    return next((n for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n])), 0)
