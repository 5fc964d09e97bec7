"""How a step is cut: by speed, by candidates first, and by examples where there are few candidates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from secfwt.runtime.groups.layout import Row, allotted, layout, seconds

SPEEDS = st.lists(st.floats(0.1, 100), min_size=1, max_size=12)


def test_a_slow_group_gets_less() -> None:
    assert allotted([1.0, 1.0], 9) in ([5, 4], [4, 5])
    assert allotted([3.0, 1.0], 8) == [6, 2]
    assert allotted([10.0, 0.1], 5) == [5, 0]


@given(SPEEDS, st.integers(0, 40))
def test_allotted_is_all_of_it_and_no_move_is_better(speeds: list[float], count: int) -> None:
    given_out = allotted(speeds, count)
    assert sum(given_out) == count
    last = max(n / s for n, s in zip(given_out, speeds, strict=True))
    assert all((n + 1) / s >= last * (1 - 1e-12) for n, s in zip(given_out, speeds, strict=True))


def even(count: int) -> dict[int, float]:
    return dict.fromkeys(range(count), 1.0)


def test_candidates_are_spread_first() -> None:
    assert layout(even(2), 9, 16, 2) == (Row(0, 16, (0, 1)),)
    assert layout(even(4), 20, 32, 4) == (Row(0, 32, (0, 1, 2, 3)),)
    assert len(layout(even(4), 21, 32, 4)) == 2  # six candidates for one group would leave the others waiting


def test_few_candidates_are_cut_by_examples() -> None:
    assert layout(even(4), 1, 8, 4) == tuple(Row(2 * i, 2 * i + 2, (i,)) for i in range(4))
    rows = layout(even(4), 2, 8, 4)
    assert [len(row) for row in rows] == [4, 4]
    assert sorted(group for row in rows for group in row.groups) == [0, 1, 2, 3]
    assert [len(row) for row in layout({0: 3.0, 1: 1.0}, 1, 8, 2)] == [6, 2]
    assert layout(even(4), 1, 8, 1) == (Row(0, 8, (0, 1, 2, 3)),)  # the parties count losses
    assert len(layout(even(4), 1, 1, 4)) == 1  # nothing to cut


@given(SPEEDS, st.integers(1, 40), st.integers(1, 60))
def test_rows_are_the_whole_set_and_all_groups(speeds: list[float], candidates: int, examples: int) -> None:
    by_group = dict(enumerate(speeds))
    rows = layout(by_group, candidates, examples, len(speeds))
    assert [row.start for row in rows] == [0, *(row.stop for row in rows[:-1])]
    assert rows[-1].stop == examples
    assert all(len(row) for row in rows)
    assert sorted(group for row in rows for group in row.groups) == list(by_group)
    alone = seconds([Row(0, examples, (max(by_group, key=lambda i: by_group[i]),))], by_group, candidates)
    assert seconds(rows, by_group, candidates) <= alone * (1 + 1e-9)


def test_64_groups_are_busy_with_a_generation_of_21_on_64_examples() -> None:
    rows = layout(even(64), 21, 64, 64)
    assert 21 * 64 / 64 / seconds(rows, even(64), 21) >= 0.85
