"""What each side keeps of a batch of tokens until they are asked about."""

from __future__ import annotations

import numpy as np

from .bfv import TOKENS
from .fixed import Words
from .uniform import Uniform


class Masks:
    """Uniform rows under a key: those of a batch's token t are numbers t·width … of a stream, made when needed."""

    def __init__(self, modulus: int) -> None:
        self._uniform = Uniform(modulus)

    def rows(self, call: int, batch: int, first: int, count: int, width: int) -> Words:
        """Of tokens `first` on, `[count, width]`."""
        return self._uniform.numbers(call, batch, first * width, count * width).reshape(count, width)

    def columns(self, call: int, batch: int, width: int) -> Words:
        """Of all tokens of a batch, by feature: `[width, TOKENS]`."""
        columns = np.empty((width, TOKENS), np.uint64)
        for first in range(0, TOKENS, 512):
            columns[:, first : first + 512] = self.rows(call, batch, first, 512, width).T
        return columns


class Cursor:
    """Which tokens of which batch of a call are next; none is used twice."""

    def __init__(self) -> None:
        self.batch = -1
        self.token = TOKENS

    @property
    def left(self) -> int:
        """Tokens that are left of the batch."""
        return TOKENS - self.token

    def next_batch(self) -> None:
        """What was left of the one before is forgotten."""
        self.batch += 1
        self.token = 0

    def take(self, count: int) -> int:
        """The first of the next `count` tokens."""
        assert 0 < count <= self.left
        self.token += count
        return self.token - count
