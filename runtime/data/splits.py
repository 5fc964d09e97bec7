"""Train, dev and test sets, drawn from labelled examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .examples import Example
from .records import DataError


@dataclass(frozen=True)
class Splits:
    """The three sets of a tuning run; `test` may be empty."""

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each label stands first in the training file: file and line."""

    @property
    def labels(self) -> list[str]:
        """The training set's labels in alphabetical order: the order of the logits."""
        return sorted({e.label for e in self.train})

    @property
    def alike(self) -> bool:
        """Whether train and dev have labels in the same proportions."""
        train, dev = (Counter(e.label for e in examples) for examples in (self.train, self.dev))
        return all(train[label] * len(self.dev) == dev[label] * len(self.train) for label in train)

    def renamed(self, names: Mapping[str, str]) -> Splits:
        """The same with other names of the labels."""
        train, dev, test = (
            [replace(e, label=names[e.label]) for e in examples] for examples in (self.train, self.dev, self.test)
        )
        return replace(self, train=train, dev=dev, test=test)


def draw_splits(
    train: list[Example],
    dev: list[Example] | None,
    test: list[Example] | None,
    *,
    k_shot: int,
    test_limit: int = 0,
    seed: int,
) -> Splits:
    """Draw `k_shot` examples per class for training (0: all), and what no file was given for.

    A dev file is used whole; without one, dev is as many further examples of the training file (`k_shot` 0: a fifth of
    it). Without a test file, test is what then remains. `test_limit` > 0 keeps a stratified part of test. The same seed
    gives the same sets.
    """
    rng = np.random.default_rng(seed)
    places = {
        label: "{}, line {}".format(*min(e.place for e in train if e.label == label))
        for label in sorted({e.label for e in train})
    }
    if dev is None:
        need = 2 * k_shot
        pool = _shuffled_by_class(train, rng)
        problems = _short(pool, need or 2, "train and dev" if k_shot else "a train and a dev part")
        if problems:
            raise DataError("training file", problems)
        cuts = {label: k_shot or max(1, len(items) - max(1, len(items) // 5)) for label, items in pool.items()}
        stops = {label: (2 * k_shot or len(items)) for label, items in pool.items()}
        train = [e for label, items in pool.items() for e in items[: cuts[label]]]
        dev = [e for label, items in pool.items() for e in items[cuts[label] : stops[label]]]
        if test is None:
            test = [e for label, items in pool.items() for e in items[stops[label] :]]
    else:
        rest: list[Example] = []
        if k_shot:
            train, rest = _take(train, k_shot, rng)
        test = rest if test is None else test
    if test_limit and len(test) > test_limit:
        test = _stratified(test, test_limit, rng)
    return Splits(train, dev, test, places)


def _take(examples: list[Example], k: int, rng: np.random.Generator) -> tuple[list[Example], list[Example]]:
    pool = _shuffled_by_class(examples, rng)
    problems = _short(pool, k, "train")
    if problems:
        raise DataError("training file", problems)
    return [e for v in pool.values() for e in v[:k]], [e for v in pool.values() for e in v[k:]]


def _short(pool: dict[str, list[Example]], need: int, purpose: str) -> list[str]:
    return [
        f"class {label!r} has {len(items)} examples, {need} are needed for {purpose}: lower --k-shot or add examples"
        for label, items in pool.items()
        if len(items) < need
    ]


def _shuffled_by_class(examples: list[Example], rng: np.random.Generator) -> dict[str, list[Example]]:
    pool: dict[str, list[Example]] = {label: [] for label in sorted({e.label for e in examples})}
    for i in rng.permutation(len(examples)):
        pool[examples[i].label].append(examples[i])
    return pool


def _stratified(examples: list[Example], n: int, rng: np.random.Generator) -> list[Example]:
    """n examples, class by class in proportion: every class is spread evenly over a common ordering."""
    pool = _shuffled_by_class(examples, rng)
    ranked = [((i + 0.5) / len(items), label, e) for label, items in pool.items() for i, e in enumerate(items)]
    return [e for _, _, e in sorted(ranked, key=lambda r: r[:2])[:n]]
