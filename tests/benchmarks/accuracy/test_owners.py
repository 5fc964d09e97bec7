"""Several owners' shots: who gets which, and that a search on their sum is one on all of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from secfwt.runtime.data.examples import Example

from accuracy.owners import ARMS, MOST, measure, parts
from accuracy.tasks import Task

EXAMPLES = [Example(f"{label} {i}", label) for i in range(4 * MOST) for label in ("a", "b")]


@pytest.mark.parametrize("name", ARMS)
def test_who_gets_which_shots(name: str) -> None:
    arm, given = ARMS[name], parts(EXAMPLES, ARMS[name])
    everything = [e for part in given for e in part]
    assert len({e.text for e in everything}) == len(everything)
    labels = [Counter(e.label for e in part) for part in given]
    if arm.skewed:
        assert labels == [{"a": 8}, {"a": 8}, {"a": 4, "b": 4}, {"b": 8}, {"b": 8}][: len(given)]
        assert len(given) == (1 if arm.one else 5)
    else:
        assert len(given) == (1 if arm.one else arm.owners)
        assert sum(labels, Counter()) == {"a": 4 * arm.owners, "b": 4 * arm.owners}
        assert len({tuple(sorted(each.items())) for each in labels}) == 1


def test_a_search_on_the_sum_is_one_on_all_examples(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    for name, count in (("train", 40), ("dev", 8)):
        rows = [
            f"{'very ' * (i % 5)}{'a world news ' * (i % 3)}film {label}\t{label}"
            for i in range(count // 2)
            for label in ("good", "bad")
        ]
        (tmp_path / "films" / f"{name}.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    task = Task("films", "films", 0, 5, 10, {"good": "good film", "bad": "bad film"})
    settings = {"k_shot": 2, "n_prompt_tokens": 2, "prompt_layer": 1, "intrinsic_dim": 6, "popsize": 4, "budget": 8}
    rows = {name: measure(task, name, 1, settings | {"model": str(directory)}, tmp_path) for name in list(ARMS)[:5]}
    one, skewed = rows["1 owner with the examples of 5"], rows["5 owners, skewed labels"]
    for several in (rows["5 owners"], skewed):
        assert several.start_loss == pytest.approx(one.start_loss, abs=0.01)
        assert several.start_dev == pytest.approx(one.start_dev, abs=0.01)
    assert rows["1 owner"].start_loss != pytest.approx(one.start_loss, abs=1e-4)
    assert all(0 <= row.accuracy <= 1 for row in rows.values())
