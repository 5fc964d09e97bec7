"""What a LoRA adapter changes a folded matrix by, as two thin factors.

The model owner folds norms, scalings, centring and the order of neurons into a matrix before it is shared. What is so
made of W + B·A differs from what is made of W by a matrix of no higher rank than B·A; where two matrices are folded
into one, by one of the sum of their ranks. Its factors are Q, an orthonormal basis of its columns, and Qᵀ times it
(Halko et al. 2011, algorithm 5.1: a basis of its products with random vectors, a few more than its rank).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..weights import base_name

Floats = NDArray[np.float64]
Tensors = Mapping[str, Floats]
Make = Callable[[Tensors], Floats]
"""A folded matrix `[in, out]`, made of the model's tensors."""
MORE = 16
"""Random vectors beyond the rank."""
ROUNDED = 1e-6
"""Of a matrix what factors may leave out, relative: merged tensors are float32, which rounds to 6e-8."""


class Base(Mapping[str, Floats]):
    """A model's tensors as they were before an adapter changed those in `names`."""

    def __init__(self, weights: Tensors, names: Mapping[str, int]) -> None:
        self._weights, self._names = weights, names

    def __getitem__(self, name: str) -> Floats:
        return self._weights[base_name(name) if name in self._names else name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


@dataclass(frozen=True)
class Change:
    """What changes of the tensors in `names`, by rank, make of a folded matrix."""

    make: Make
    names: Mapping[str, int]

    @property
    def rank(self) -> int:
        """At most."""
        return sum(self.names.values())

    def base(self, weights: Tensors) -> Floats:
        """The matrix without them."""
        return self.make(Base(weights, self.names))

    def down(self, weights: Tensors) -> Floats:
        """Q `[in, rank]`, orthonormal columns that span those of the change."""
        changed = self.make(weights) - self.base(weights)
        drawn = np.random.default_rng(0).normal(size=(changed.shape[1], min(self.rank + MORE, *changed.shape)))
        basis = np.linalg.qr(changed @ drawn)[0]
        inner = np.linalg.svd(basis.T @ changed, full_matrices=False)[0]
        return np.asarray(basis @ inner[:, : self.rank])

    def up(self, weights: Tensors, basis: Floats) -> Floats:
        """Qᵀ times the change, `[rank, out]`, for a `basis` that may be another matrix' of the same names. Raises
        ValueError where that does not span the change's columns."""
        whole = self.make(weights)
        changed = whole - self.base(weights)
        found: Floats = basis.T @ changed
        if np.linalg.norm(changed - basis @ found) > ROUNDED * np.linalg.norm(whole):
            raise ValueError(f"the change of {', '.join(self.names)} has another rank than the adapter's")
        return found
