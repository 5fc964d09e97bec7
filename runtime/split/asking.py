"""What the plan's oracle adds to its products: the server's answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AdapterServerError
from .client import AdapterClient
from .fixed import Floats


class Asking:
    """Asks once for modules that read the same rows. Rows of zeros, which padding is in decoders, are not asked about:
    they get zeros."""

    def __init__(self, client: AdapterClient) -> None:
        self._client = client
        self._calls = {m: (call, i) for call, shape in enumerate(client.shapes) for i, m in enumerate(shape.modules)}
        if len(self._calls) != sum(len(shape.modules) for shape in client.shapes):
            raise AdapterServerError("the adapter's server described a module twice")
        self._last: tuple[int, NDArray[Any], list[Floats]] | None = None

    def added(self, name: str, rows: NDArray[Any]) -> NDArray[Any] | None:
        """What the adapter adds to rows `[…, in]` times the matrix of that name; None where it has no part."""
        found = self._calls.get(name.removesuffix(".weight"))
        if found is None:
            return None
        call, part = found
        if self._last is None or self._last[0] != call or self._last[1] is not rows:
            self._last = (call, rows, self._ask(call, rows.reshape(-1, rows.shape[-1])))
        return self._last[2][part].reshape(*rows.shape[:-1], -1).astype(rows.dtype)

    def _ask(self, call: int, rows: NDArray[Any]) -> list[Floats]:
        live = rows.any(axis=1)
        told = self._client.ask(call, rows[live].astype(np.float64)) if live.any() else []
        widths = self._client.shapes[call].widths
        answers = [np.zeros((len(rows), width)) for width in widths]
        for answer, values in zip(answers, told, strict=False):
            answer[live] = values
        return answers
