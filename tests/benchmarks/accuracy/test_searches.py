"""Searches on top of shots: every variant runs, and a shot that is left out is no part of its own prototype."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accuracy import searches
from accuracy.prototypes import TEMPERATURE, unit
from accuracy.searches import CHOICES, VARIANTS, Pool, begin, losses, search
from accuracy.tasks import Task

TASK = Task("films", "films", 0, 0, 10, {"good": "good film", "bad": "bad film"})
SHOTS = 3


@pytest.fixture(scope="module")
def films(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    data = tmp_path_factory.mktemp("data")
    (data / "films").mkdir()
    rows = [f"film {i} was {'very ' * (i % 4)}{label}\t{label}" for i in range(10) for label in ("good", "bad")]
    (data / "films" / "train.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    small = {"sequence_length": 10, "n_prompt_tokens": 2, "prompt_layer": 1, "attention": "softmax"}
    return Pool(TASK, data, model=str(directory), **small)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_finds_prompts(films: Pool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "CHECKPOINTS", (20, 40))
    monkeypatch.setattr(searches, "PUBLIC", SHOTS)
    shots = films.shots(VARIANTS[name], 1, SHOTS)
    start = begin(shots, 1, lambda: films)
    (few, early), (many, late) = search(shots, 1, start)
    assert (few, many) == (20, 40)
    assert list(early) == list(late) == list(CHOICES)
    none, best = (shots.dev(late[choice][None]).mean() for choice in ("start", "lowest dev loss"))
    assert best <= none
    assert not late["start"].any()
    assert late["last mean"].any()
    assert 0 <= shots.accuracy(late["last mean"]) <= 1


def test_a_shot_is_left_out_of_its_own_prototype(films: Pool) -> None:
    shots = films.shots(VARIANTS["base"], 1, SHOTS)
    z = np.random.default_rng(0).normal(size=(1, shots.dim))
    labels, plain = shots.labels["train"], shots.plain["train"]
    others = (np.arange(len(labels)) != 0) & (labels == labels[0])
    means = shots.means["train"].copy()
    means[labels[0]] = plain[others].mean(axis=0)
    logits = TEMPERATURE * shots.rows("train", z)[0][:1] @ unit(shots.texts + shots.shot_weight * means).T
    found = shots.losses("train", z, shots.means["train"], slice(0, 1), out=True)
    assert found[0] == pytest.approx(losses(logits, labels[:1]))
