"""What the plan's oracle adds to its products: the server's answers, each asked for once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .encryption.fixed import Floats, Shape

KEPT_ROWS = 1 << 18
"""Whose answers are remembered: modules read the same rows, steps ask about a text's rows again, and each token of an
answer about those before it. Some 300 bytes each."""


class Asked(Protocol):
    """Whoever answers, as `AdapterClient` does."""

    @property
    def shapes(self) -> Sequence[Shape]:
        """Of calls, in order."""

    def ask(self, call: int, rows: Floats) -> Floats:
        """What is told of rows `[n, inputs]`: `[n, told]`."""

    def added(self, call: int, module: int, told: Floats) -> Floats:
        """What one module of the call adds to its output."""


class Asking:
    """Asks once about a row, as far back as `kept_rows` go: those that were not needed for longest are forgotten. Rows
    of zeros, which padding is in decoders, are not asked about: they get zeros."""

    def __init__(self, client: Asked, kept_rows: int = KEPT_ROWS) -> None:
        self._client = client
        self._calls = {m: (call, i) for call, shape in enumerate(client.shapes) for i, m in enumerate(shape.modules)}
        self._told: OrderedDict[bytes, Floats] = OrderedDict()
        """By call and row, the last that was needed last."""
        self._most = kept_rows

    def added(self, name: str, rows: NDArray[Any]) -> NDArray[Any] | None:
        """What the adapter adds to rows `[candidates, examples, …, in]` times the matrix of that name; None where it
        has no part."""
        found = self._calls.get(name.removesuffix(".weight"))
        if found is None:
            return None
        call, module = found
        told = self._ask(call, rows.reshape(-1, rows.shape[-1]))
        return self._client.added(call, module, told).reshape(*rows.shape[:-1], -1).astype(rows.dtype)

    def _ask(self, call: int, rows: NDArray[Any]) -> Floats:
        """`[n, told]`."""
        told = np.zeros((len(rows), self._client.shapes[call].told))
        live = np.flatnonzero(rows.any(axis=1))
        keys = [blake2b(rows[i].tobytes(), salt=call.to_bytes(4, "big")).digest() for i in live]
        new = {key: i for key, i in zip(keys, live, strict=True) if key not in self._told}
        if new:
            answers = self._client.ask(call, rows[list(new.values())].astype(np.float64))
            self._told.update(zip(new, map(np.copy, answers), strict=True))
        for key, i in zip(keys, live, strict=True):
            self._told.move_to_end(key)
            told[i] = self._told[key]
        while len(self._told) > self._most:
            self._told.popitem(last=False)
        return told
