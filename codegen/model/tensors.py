"""Safetensors files read tensor by tensor, in the number formats that checkpoints use."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..commandline.texts import parse_json
from ..hub.files import pointer_problem

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


class TensorFile:
    """One safetensors file: eight bytes of header length, a JSON header, the data. Reads lazily.

    Raises OSError, or ValueError when the file is no safetensors file or is cut short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if problem := pointer_problem(path):
            raise ValueError(problem)
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError(f"{path.name} is not a safetensors file")
            header: dict[str, Any] = parse_json(file.read(length))
        header.pop("__metadata__", None)
        self._start = 8 + length
        self._header = header
        for name, entry in header.items():
            lo, hi = entry["data_offsets"]
            if not 0 <= lo <= hi <= size - self._start:
                raise ValueError(f"{path.name}: tensor {name} lies beyond the end of the file (incomplete download?)")

    def names(self) -> list[str]:
        """All tensors, in the header's order."""
        return list(self._header)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._header[name]["shape"])

    def read(self, name: str) -> NDArray[np.float32]:
        """A tensor as float32; accepts float64, float32, float16 and bfloat16, else raises ValueError."""
        entry = self._header[name]
        dtype, (lo, hi) = entry["dtype"], entry["data_offsets"]
        if dtype not in _BYTES:
            raise ValueError(f"tensor {name} has the type {dtype}; accepted: {', '.join(_BYTES)}")
        if hi - lo != prod(entry["shape"]) * _BYTES[dtype]:
            raise ValueError(f"tensor {name} has {hi - lo} bytes, its shape says {entry['shape']} of {dtype}")
        with self._path.open("rb") as file:
            file.seek(self._start + lo)
            data = file.read(hi - lo)
        if dtype == "BF16":  # the upper half of a float32
            values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(data, {8: "<f8", 4: "<f4", 2: "<f2"}[_BYTES[dtype]])
        return values.astype(np.float32).reshape(entry["shape"])
