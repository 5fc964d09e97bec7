"""Rotary positions (Su et al. 2021): how fast each pair of a head's columns turns, as `transformers` has it.

Columns j and j + D/2 of a head are one pair. A row at position t is turned by t·ω_j there, so that q_s·k_t depends on
s − t alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


Scaling = Literal["default", "linear", "llama3"]


@dataclass(frozen=True)
class Rope:
    """ω_j = theta^(−2j/D), slowed down for longer texts than the model was first trained on."""

    theta: float
    kind: Scaling = "default"
    """`linear`: all by `factor` (Chen et al. 2023); `llama3`: by that where a turn takes longer than
    `original_positions`/`low_freq_factor`, not at all where it takes less than that over `high_freq_factor`."""
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192

    def frequencies(self, dim: int) -> Floats:
        """ω `[D/2]`, radians per position."""
        omega = self.theta ** (-np.arange(0, dim, 2) / dim)
        if self.kind == "linear":
            return np.asarray(omega / self.factor)
        if self.kind == "default":
            return omega
        turns = self.original_positions * omega / (2 * np.pi)  # within the original length
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        kept = np.clip(kept, 0, 1)
        return np.asarray(omega * (kept + (1 - kept) / self.factor))

    def tables(self, positions: int, dim: int) -> tuple[Floats, Floats]:
        """Cosines and sines `[positions, D]` of all rows' angles, the sines negative in a head's first half:
        R x = x∘cos + swap(x)∘sin, where `swap` exchanges the halves."""
        angles = np.arange(positions)[:, None] * np.tile(self.frequencies(dim), 2)
        signs = np.repeat([-1.0, 1.0], dim // 2)
        return np.cos(angles), np.sin(angles) * signs
