"""What the plan's oracle adds to its products: the server's answers, each asked for once."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import AdapterServerError
from .encryption.fixed import Floats, Shape

RECENT = 4
"""Answers that are remembered for modules which read the same rows: queries, keys and values of a layer's parts."""
KEPT_BYTES = 1 << 29
"""Of answers about rows that no candidate changes, as a decoder's text: steps ask about them again."""


class Asked(Protocol):
    """Whoever answers, as `AdapterClient` does."""

    @property
    def shapes(self) -> Sequence[Shape]:
        """Of calls, in order."""

    def ask(self, call: int, rows: Floats) -> list[Floats]:
        """What each module of a call adds to its output for rows `[n, inputs]`."""


class Asking:
    """Asks once for modules that read the same rows, and once in all for rows that are there before any candidate, as
    far as there is room. Rows of zeros, which padding is in decoders, are not asked about: they get zeros."""

    def __init__(self, client: Asked, kept_bytes: int = KEPT_BYTES) -> None:
        self._client = client
        self._calls = {m: (call, i) for call, shape in enumerate(client.shapes) for i, m in enumerate(shape.modules)}
        if len(self._calls) != sum(len(shape.modules) for shape in client.shapes):
            raise AdapterServerError("the adapter's server described a module twice")
        self._kept: dict[bytes, list[Floats]] = {}
        self._recent: dict[bytes, list[Floats]] = {}
        self._room = kept_bytes

    def added(self, name: str, rows: NDArray[Any]) -> NDArray[Any] | None:
        """What the adapter adds to rows `[candidates, examples, …, in]` times the matrix of that name; None where it
        has no part."""
        found = self._calls.get(name.removesuffix(".weight"))
        if found is None:
            return None
        call, part = found
        key = blake2b(rows.tobytes(), salt=call.to_bytes(4, "big")).digest()
        told = self._kept.get(key) or self._recent.get(key)
        if told is None:
            told = self._ask(call, rows.reshape(-1, rows.shape[-1]))
            self._remember(key, told, len(rows) == 1)
        return told[part].reshape(*rows.shape[:-1], -1).astype(rows.dtype)

    def _remember(self, key: bytes, told: list[Floats], alone: bool) -> None:
        size = sum(values.nbytes for values in told)
        if alone and size <= self._room:
            self._room -= size
            self._kept[key] = told
            return
        self._recent[key] = told
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def _ask(self, call: int, rows: NDArray[Any]) -> list[Floats]:
        live = rows.any(axis=1)
        told = self._client.ask(call, rows[live].astype(np.float64)) if live.any() else []
        widths = self._client.shapes[call].widths
        answers = [np.zeros((len(rows), width)) for width in widths]
        for answer, values in zip(answers, told, strict=False):
            answer[live] = values
        return answers
