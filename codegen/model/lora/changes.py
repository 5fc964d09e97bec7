"""What a LoRA adapter makes of a model's canonical tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..spec import ModelSpec

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """What is added to a matrix `[out, in]`: s·B·A."""

    down: Floats
    """A `[r, in]`."""
    up: Floats
    """B `[out, r]`."""
    scale: float

    @property
    def rank(self) -> int:
        """r."""
        return len(self.down)

    @property
    def dense(self) -> Floats:
        """s·B·A, float32, in the order of operations that PEFT merges by."""
        return (self.up @ self.down) * np.float32(self.scale)


@dataclass(frozen=True)
class Lora:
    """An adapter, read for one model."""

    folder: Path
    changes: Mapping[str, Change]
    """By canonical name of the matrix."""
    tensors: Mapping[str, Floats]
    """Canonical tensors that stand in for the base's: trained biases, and heads that were trained whole."""

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical tensors that are not the base's, in order."""
        return tuple(sorted({*self.changes, *self.tensors}))

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of `names`: the change's rank, 0 of a tensor that stands in for the base's."""
        return tuple(self.changes[name].rank if name in self.changes else 0 for name in self.names)

    def merged(self, name: str, value: Floats) -> Floats:
        """A canonical tensor of the base, with the adapter."""
        value = self.tensors.get(name, value)
        change = self.changes.get(name)
        return value if change is None else value + change.dense

    def lowest_layer(self, spec: ModelSpec) -> int:
        """The lowest layer that the adapter changes: those below are the base's. At most the last one."""
        return min(_layer(name, spec.num_hidden_layers - 1) for name in self.names)


def _layer(name: str, last: int) -> int:
    """The layer that a tensor belongs to; those of the embeddings count as the first's, of the head as the last's."""
    part, number, *_ = name.split(".")
    if part == "layers":
        return int(number)
    return 0 if part == "embeddings" else last
