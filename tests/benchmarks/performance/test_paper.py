"""The whole run from parts of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.benchmark_rows import ROW, TOY
from secfwt.runtime.errors import SecfwtError

from performance import generation, paper
from performance.generation import Generation
from performance.models import VERBALISER

SMALL = Generation(replace(TOY, layers=6, head=VERBALISER), 4, 20, 32, 4, 4, prompt_rows=3, intrinsic_dim=5)


def test_a_run_is_its_set_up_once_and_all_generations() -> None:
    row = replace(ROW, layers=6, candidates=20, examples=32, load_seconds=30.0, load_megabytes=5e5, megabytes=1e3)
    whole = paper.whole_run([replace(row, seconds=9.0)], SMALL, generations=400)
    assert whole.run_hours == pytest.approx((30 + 400 * 9) / 3600)
    assert whole.run_terabytes == pytest.approx(0.5 + 0.4)
    assert (whole.prompt_layer, whole.pairs_factor, whole.measured_layers) == (4, 1, "6")


def test_a_part_of_a_generation_counts_as_often_as_it_fits() -> None:
    row = replace(ROW, layers=6, candidates=10, examples=8, load_seconds=30.0, load_megabytes=1e3, seconds=9.0)
    whole = paper.whole_run([row], SMALL, generations=10)
    assert whole.run_hours == pytest.approx((30 * 4 + 10 * 9 * 8) / 3600)
    assert "1/8 of a generation on 6 layers" in str(whole)


def test_two_depths_give_the_whole_models_cost() -> None:
    shallow = replace(ROW, layers=2, seconds=1.0, megabytes=10.0, rounds=20, load_megabytes=3.0)
    deep = replace(ROW, layers=3, seconds=1.5, megabytes=14.0, rounds=25, load_megabytes=5.0)
    found = paper.at_depth(shallow, deep, 6)
    assert (found.layers, found.seconds, found.megabytes, found.rounds, found.load_megabytes) == (6, 3.0, 26.0, 40, 5.0)
    above = paper.at_depth(replace(shallow, prompt_layer=1), replace(deep, prompt_layer=2), 6)
    assert (above.seconds, above.megabytes, above.rounds, above.load_megabytes) == (1.5, 14.0, 25, 11.0)
    assert paper.at_depth(deep, deep, 3) is deep
    with pytest.raises(SecfwtError, match=r"2 layers took more than 3 \(seconds 2, 1.5\): measure again"):
        paper.at_depth(replace(shallow, seconds=2.0), deep, 6)


def test_layers_are_left_out_below_the_prompt() -> None:
    assert [paper.cut(replace(SMALL, prompt_layer=at), 3).prompt_layer for at in (5, 4, 0)] == [2, 1, 0]
    assert paper.cut(SMALL, 3).shape.layers == 3


def test_a_verbaliser_with_a_prompt_in_the_last_layer_is_measured() -> None:
    size = replace(SMALL, prompt_layer=5, candidates=2, examples=2)
    row = generation.measure(paper.cut(size, 2), True, 0, 1)
    assert (row.layers, row.prompt_layer) == (2, 1)
    assert row.max_error < 0.02
    assert row.load_megabytes > 0
