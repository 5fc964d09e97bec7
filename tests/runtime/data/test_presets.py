"""Rules of the presets."""

from __future__ import annotations

import pytest
from secfwt.runtime.data.examples import Example
from secfwt.runtime.data.presets import PRESETS, described, length, shots
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.session import own_options

STANDARD = PRESETS["standard"]


def examples(first: int, second: int) -> list[Example]:
    return [Example(str(i), label) for label, n in (("a", first), ("b", second)) for i in range(n)]


@pytest.mark.parametrize(
    ("smallest", "has_dev", "has_test", "expected"),
    [(100, False, False, 16), (33, False, False, 11), (33, True, False, 16), (20, True, True, 16), (5, True, True, 5)],
)
def test_shots_leave_room_for_the_other_sets(smallest: int, has_dev: bool, has_test: bool, expected: int) -> None:
    assert shots(STANDARD, examples(smallest, 200), has_dev, has_test) == expected
    assert shots(STANDARD, examples(1, 1), False, False) == 1


def test_the_length_holds_nineteen_of_twenty() -> None:
    counts = [*range(1, 101)]
    assert length(counts, 512) == 95
    assert sum(n <= length(counts, 512) for n in counts) == 95
    assert length(counts, 64) == 64
    assert length([1], 512) == 2


def test_the_budget_is_whole_generations() -> None:
    assert [PRESETS[name].budget(32, 8) for name in ("quick", "standard", "thorough")] == [80, 400, 800]
    assert STANDARD.budget(50, 20) % 20 == 0
    assert STANDARD.budget(1, 20) == 20


def test_the_demo_is_what_nobody_has_to_say() -> None:
    options, line = own_options({}, "demo")
    assert options == TuneOptions()
    assert line == "demo: 21 tokens (--sequence-length), 4 shots (--k-shot), 80 evaluations, 2.5 per dimension " + (
        "(--budget), up to 100 test examples (--test-limit)"
    )


def test_only_what_was_chosen_is_said() -> None:
    assert described("quick", {"budget": 80}) == "quick: 80 evaluations, 2.5 per dimension (--budget)"
