"""Train, dev and test sets: disjoint, stratified, seeded."""

from __future__ import annotations

from collections import Counter

import pytest
from secfwt.runtime.data.examples import Example
from secfwt.runtime.data.records import DataError
from secfwt.runtime.data.splits import draw_splits


def examples(**counts: int) -> list[Example]:
    return [Example(f"{label} {i}", label) for label, n in counts.items() for i in range(n)]


def test_splits_are_disjoint_stratified_and_seeded() -> None:
    pool = examples(a=20, b=40)
    splits = draw_splits(pool, None, None, k_shot=4, test_limit=9, seed=3)
    assert Counter(e.label for e in splits.train) == Counter(e.label for e in splits.dev) == {"a": 4, "b": 4}
    assert Counter(e.label for e in splits.test) == {"a": 2, "b": 7}
    assert len({e.text for e in [*splits.train, *splits.dev, *splits.test]}) == 25
    assert splits == draw_splits(pool, None, None, k_shot=4, test_limit=9, seed=3)
    assert splits != draw_splits(pool, None, None, k_shot=4, test_limit=9, seed=4)
    assert splits.labels == ["a", "b"]


def test_a_dev_file_may_have_labels_in_other_proportions() -> None:
    train = examples(a=2, b=4)
    for dev, alike in (({"a": 3, "b": 6}, True), ({"a": 3, "b": 5}, False), ({"a": 1}, False)):
        assert draw_splits(train, examples(**dev), [], k_shot=0, seed=0).alike == alike
    assert draw_splits(examples(a=9, b=8), None, None, k_shot=3, seed=0).alike


def test_given_files_are_kept_apart() -> None:
    train, dev, test = examples(a=9, b=9), [Example("d", "a"), Example("e", "b")], [Example("t", "a")]
    splits = draw_splits(train, dev, test, k_shot=1, seed=0)
    assert len(splits.train) == 2
    assert {e.text for e in splits.dev} == {"d", "e"}
    assert splits.test == test
    assert len(draw_splits(train, dev, None, k_shot=1, seed=0).test) == 16
    assert draw_splits(train, dev, None, k_shot=0, seed=0).test == []


def test_all_examples_without_k_shot() -> None:
    splits = draw_splits(examples(a=10, b=2), None, None, k_shot=0, seed=0)
    assert Counter(e.label for e in splits.train) == {"a": 8, "b": 1}
    assert Counter(e.label for e in splits.dev) == {"a": 2, "b": 1}
    assert splits.test == []


def test_too_few_examples_names_every_class() -> None:
    with pytest.raises(DataError) as caught:
        draw_splits(examples(a=3, b=9, c=1), None, None, k_shot=4, seed=0)
    assert [p.split(":")[0] for p in caught.value.problems] == [
        "class 'a' has 3 examples, 8 are needed for train and dev",
        "class 'c' has 1 examples, 8 are needed for train and dev",
    ]


def test_labels_have_a_place_and_may_be_renamed() -> None:
    train = [Example("x", "1", ("a.csv", 9)), Example("y", "0", ("a.csv", 3)), Example("z", "1", ("a.csv", 4))]
    splits = draw_splits(train, train[:1], [], k_shot=0, seed=0)
    assert splits.places == {"0": "a.csv, line 3", "1": "a.csv, line 4"}
    named = splits.renamed({"0": "bad", "1": "good"})
    assert [e.label for e in named.train] == ["good", "bad", "good"]
    assert (named.train[0].place, named.places) == (("a.csv", 9), splits.places)
