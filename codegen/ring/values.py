"""Values of a ring program under construction: its inputs, and the range of every value, checked for overflow.

All values are real numbers with a declared bound; the ring element is round(value · 2^scale). A value at scale 64 is a
*phase*: it wraps by design and has no bound. Everything else must stay below 2^62: a truncation needs two bits beyond
the magnitude in whatever ring it is (docs/program.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, inf, log2, prod, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.lora.factors import Change, Make
from ..series.fits import ROUNDINGS
from .encoding import Words, encode, number_bytes, stored
from .operations import OPERATIONS
from .program import NOISE_REACH, PHASE, WORD, RingProgram, RingValue, Shape, Use

Floats = NDArray[np.float64]
WideWeights = Mapping[str, Floats]
"""The model's weights in float64, by canonical name (`model/weights.py`)."""
HEADROOM = 61.95
"""Bits of a ring element's magnitude: truncation needs |x| < 2^62. Bounds are those of real numbers, and 3 % are left
for what rounding adds to them."""


@dataclass(frozen=True)
class Fold:
    """How a weight of the ring program follows from the model's own weights; evaluated by the model owner alone."""

    name: str
    shape: Shape
    scale: int
    make: Callable[[WideWeights], Floats]

    def words(self, weights: WideWeights) -> Words:
        """The weight as ring elements `[*shape]`."""
        return encode(np.asarray(self.make(weights)), self.scale)


class Matrix(NamedTuple):
    """A matrix of the model's; with a change that is multiplied by itself, `weight` is the public base."""

    name: str
    weight: int
    change: Change | None


@dataclass
class RangedValues:
    """A ring program under construction: its inputs, and what is known of every value's range.

    `RingBuilder` adds the operations.
    """

    weights: WideWeights | None = None
    known: Callable[[str], bool] | None = None
    """Whether everybody knows a tensor of the model; None: nobody knows any."""
    round_bits: int = 0
    """Bits per instance that a round is worth, where one of two ways is chosen."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Of an adapter's changes that are multiplied by themselves, by tensor."""
    program: RingProgram = field(default_factory=RingProgram)
    folds: dict[str, Fold] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Products that would overflow."""
    site: str = ""
    """Part of the model that values added now belong to."""
    _norms: dict[int, float] = field(default_factory=dict)
    _columns: dict[int, float] = field(default_factory=dict)
    _weight_ids: dict[str, int] = field(default_factory=dict)
    _matrices: dict[str, Matrix] = field(default_factory=dict)
    _down: dict[tuple[int | str, ...], tuple[str, Change]] = field(default_factory=dict)
    """By length of rows and changed tensors: the matrix whose factor `down` is that of all that these change."""
    _thin: dict[tuple[int, str], int] = field(default_factory=dict)
    """Rows times that factor, by the rows' id and the matrix' name."""

    def __getitem__(self, i: int) -> RingValue:
        return self.program[i]

    def _append(
        self,
        kind: str,
        inputs: tuple[int, ...] = (),
        *,
        bound: float,
        shape: Shape = (),
        scale: int = 0,
        **keys: object,
    ) -> int:
        """A value that follows from its operation's row; `shape` and `scale` where the row asks for them."""
        operation = OPERATIONS[kind]
        use = Use(tuple(self[i] for i in inputs), keys, self.program.fits, shape, scale)
        shape, sharing, scale, ring = operation.derive(use)
        stage = self.program.joined_stage(inputs) if operation.stage is None else operation.stage
        value = RingValue(
            id=len(self.program.values), kind=kind, inputs=inputs, shape=shape, stage=stage,
            bound=inf if scale == PHASE else bound, attrs=keys, sharing=sharing, scale=scale, ring=ring, site=self.site,
        )  # fmt: skip
        self.program.values.append(value)
        return value.id

    # inputs

    def weight(
        self, name: str, shape: Shape, scale: int, make: Callable[[WideWeights], Floats], nominal: float = 4.0
    ) -> int:
        """A weight, made once per name; `nominal`: assumed column norm (matrices) or magnitude without weights.

        It is the model owner's, unless all tensors that it is made of are public: then everybody has it in a file, and
        the program names the hash.
        """
        if name in self.folds:
            return self._weight_ids[name]
        bound, column = nominal, nominal
        kind, keys = "weight", dict[str, object](ring=WORD)
        if self.weights is not None:
            read = _Read(self.weights)
            array = np.asarray(make(read), dtype=np.float64)
            if array.shape != shape:
                raise ValueError(f"weight {name}: folded to {array.shape}, the program wants {shape}")
            bound = float(np.max(np.abs(array), initial=0.0))
            column = float(np.max(np.sqrt(np.sum(array**2, axis=0)), initial=0.0)) if array.ndim == 2 else bound
            if self.known is not None and all(map(self.known, read.names)):
                kind, keys = "constant", _hashed(encode(array, scale))
        self.folds[name] = Fold(name, shape, scale, make)
        i = self._append(kind, (), bound=bound, shape=shape, scale=scale, name=name, **keys)
        self._columns[i] = column
        self._weight_ids[name] = i
        return i

    def matrix(self, name: str, shape: Shape, scale: int, make: Make) -> Matrix:
        """A weight `[in, out]` that rows are multiplied with (`RingBuilder.product`), made once per name."""
        if name not in self._matrices:
            change = self._change(shape, make)
            weight = self.weight(name, shape, scale, change.base if change else make)
            self._matrices[name] = Matrix(name, weight, change)
        return self._matrices[name]

    def _change(self, shape: Shape, make: Make) -> Change | None:
        """What an adapter changes a matrix by, where all else of it is public and factors have fewer numbers."""
        if self.weights is None or self.known is None or not self.ranks:
            return None
        read = _Read(self.weights)
        make(read)
        names = {name: self.ranks[name] for name in sorted(read.names) if name in self.ranks}
        open_ = all(name in names or self.known(name) for name in read.names)
        return Change(make, names) if names and open_ and sum(names.values()) * sum(shape) < prod(shape) else None

    def example(self, name: str, shape: Shape, scale: int, bound: float) -> int:
        """An input that the data owner shares once per example, in a ring that holds no more than its bound asks for,
        and lifted from there: whoever shares it, and whatever, no number of it is larger than 3·2^(ring-2)."""
        ring = free_ring(bound, scale)
        i = self._append("example", bound=bound, shape=shape, scale=scale, name=name, ring=ring)
        return i if ring == WORD else self._append("lift", (i,), bound=bound, ring=WORD)

    def candidate(self, name: str, shape: Shape, scale: int, bound: float) -> int:
        """An input that the data owner shares for every candidate of a step."""
        return self._append("candidate", bound=bound, shape=shape, scale=scale, name=name, ring=WORD)

    def kept(self, name: str, shape: Shape, scale: int, bound: float) -> int:
        """What an output of an earlier step was kept as; the row of that output has the same shape and scale."""
        return self._append("kept", bound=bound, shape=shape, scale=scale, name=name)

    def public(self, name: str, shape: Shape, scale: int, seed: str, bits: int) -> int:
        """A public matrix expanded from a seed: numbers of `bits` bits at a scale."""
        bound = 2.0 ** (bits - 1 - scale)
        i = self._append("public", bound=bound, shape=shape, scale=scale, name=name, seed=seed, bits=bits)
        self._columns[i] = bound * sqrt(shape[0])
        return i

    def table(self, name: str, values: Floats, scale: int) -> int:
        """A public array in the program's text, rounded at a scale; made once per name."""
        if (key := f"table {name}") not in self._weight_ids:
            numbers = tuple(int(n) for n in np.rint(np.ldexp(values, scale)).reshape(-1))
            bound = float(np.max(np.abs(values), initial=0.0))
            self._weight_ids[key] = self._append(
                "table", bound=bound, shape=values.shape, scale=scale, name=name, numbers=numbers
            )
        return self._weight_ids[key]

    def check_noise(self, output: str, i: int, noise: float) -> None:
        """Note where a value and the noise that is added to it may leave the widest ring."""
        v = self[i]
        if noise and v.scale + log2(v.bound + NOISE_REACH * noise) > HEADROOM:
            self.problems.append(
                f"output {output}: noise of {noise:g} per party reaches {NOISE_REACH * noise:.3g}, and with what is "
                f"opened {v.scale + log2(v.bound + NOISE_REACH * noise):.1f} bits; {HEADROOM} are there"
            )

    # what is known of ranges

    def norm(self, i: int) -> float:
        """Bound on the Euclidean norm of a row (last axis)."""
        v = self[i]
        return min(self._norms.get(i, inf), v.bound * sqrt(v.shape[-1]))

    def declare(self, i: int, *, bound: float | None = None, norm: float | None = None) -> int:
        """Narrow a value's range where the program's structure or calibration knows more than the products tell."""
        v = self[i]
        if bound is not None and bound < v.bound:
            self.program.values[i] = replace(v, bound=bound)
        if norm is not None:
            self._norms[i] = min(norm, self.norm(i))
        return i


class _Read(WideWeights):
    """Weights, and the names of those that have been read."""

    def __init__(self, weights: WideWeights) -> None:
        self._weights = weights
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Floats:
        self.names.add(name)
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _hashed(words: Words) -> dict[str, object]:
    """The keys of a `constant`."""
    size = number_bytes(words)
    return {"bytes": size, "sha256": hashlib.sha256(stored(words, size)).hexdigest()}


def magnitude_bits(bound: float, scale: int) -> int:
    """Bits of the largest magnitude at a scale; `bound` is finite."""
    return max(1, ceil(scale + log2(bound) + ROUNDINGS)) if bound > 0 else 1


def free_ring(bound: float, scale: int) -> int:
    """Bits of the smallest ring in which a number leaves two free, as a truncation or a lift asks for; at most all."""
    return min(WORD, magnitude_bits(bound, scale) + 2) if bound < inf else WORD
