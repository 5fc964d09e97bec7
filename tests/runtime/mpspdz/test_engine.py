"""What the MP-SPDZ engine sends for sets and steps, to a peer that only keeps books; no MP-SPDZ needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from helpers.mpspdz_local import ONE, Toy
from secfwt.codegen.mpspdz.calls import translate
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.runtime.engine import Batch, Progress
from secfwt.runtime.errors import InputError
from secfwt.runtime.mpspdz.client import MpSpdzClient
from secfwt.runtime.mpspdz.engine import MpSpdzEngine
from secfwt.runtime.mpspdz.inputs import prompt_rows, weight_words
from secfwt.runtime.mpspdz.local import options_for
from secfwt.runtime.parties.sharing import RangeError

STOP, EXAMPLES, LOSSES, LOGITS = range(4)


class Books:
    """Client and parties in one. The loss of a set is the sum of its example weights; an example's logits are its
    weight and the tile it lies in.
    """

    def __init__(self, toy: Toy, options: MpSpdzOptions) -> None:
        self.program = translate(toy.plan, options)
        self.options = options
        self.commands: list[tuple[int, ...]] = []
        self.tiles: dict[int, list[np.ndarray]] = {}
        self.given: list[np.ndarray] = []
        self.results: list[np.ndarray] = []
        self.heard = 0

    def say(self, *words: int) -> None:
        self._settle()
        self.commands.append(words)

    def give(self, words: np.ndarray) -> None:
        self.given.append(words)

    def take(self, count: int) -> np.ndarray:
        self._settle()
        assert len(self.results[0]) == count
        return self.results.pop(0)

    def hear(self) -> int:
        self.heard += 1
        return 1

    def idle(self) -> None:
        pass

    def _settle(self) -> None:
        """Carry out the command whose inputs have come in."""
        if not self.commands or not self.given:
            return
        word, count, first, used = self.commands[-1]
        containers = self.program.examples if word == EXAMPLES else self.program.candidates
        groups = [self.given[i : i + len(containers)] for i in range(0, len(self.given), len(containers))]
        self.given = []
        for group in groups:
            assert [len(words) for words in group] == [int(np.prod(c.shape)) // c.shape[0] // (
                c.shape[1] if word == EXAMPLES else 1) * (self.options.tile if word == EXAMPLES else 1)
                for c in containers]  # fmt: skip
        if word == EXAMPLES:
            self.tiles.update(zip(range(first, first + used), groups, strict=True))
            assert first + used <= self.options.tiles
            return
        assert len(groups) == count
        weights = {i: self.tiles[i][-1] for i in range(first, first + used)}
        if word == LOSSES:
            total = sum(int(w.sum()) for w in weights.values())
            self.results.append(np.array([total] * count + [0] * (self.program.popsize - count)))
        else:
            self.results += [np.stack([w, np.full_like(w, i * ONE)], axis=1).ravel() for i, w in weights.items()]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))


def engine(
    toy: Toy, options: MpSpdzOptions, progress: Progress = lambda done, total: None
) -> tuple[MpSpdzEngine, Books]:
    books = Books(toy, options)
    peer = cast(Any, books)
    return MpSpdzEngine(toy.plan, books.program, options, cast(MpSpdzClient, peer), peer, progress), books


def batch(toy: Toy, count: int, weight: float = 0.125) -> Batch:
    repeated = {k: np.resize(v, (count, *v.shape[1:])) for k, v in toy.batch.inputs.items()}
    return Batch({**repeated, "example_weight": np.arange(1, count + 1)[:, None] * weight})


def test_room_for_all_sets_in_whole_tiles() -> None:
    options = options_for("ring", [32, 5, 100])
    assert (options.tile, options.tiles) == (8, 4 + 1 + 13)
    assert options_for("ring", [3, 1]).tile == 3


def test_sets_are_shared_once_and_stay(toy: Toy) -> None:
    one, books = engine(toy, MpSpdzOptions(examples=6, tile=2))
    one.load_examples("train", batch(toy, 3))
    one.load_examples("dev", batch(toy, 2, 0.5))
    for _ in range(2):
        np.testing.assert_array_equal(one.losses("train", toy.z), [0.75, 0.75])
        np.testing.assert_array_equal(one.losses("dev", toy.z), [1.5, 1.5])
    np.testing.assert_array_equal(one.logits("train", toy.z[0]), [[0.125, 0], [0.25, 0], [0.375, 1]])
    steps = [(LOSSES, 2, 0, 2), (LOSSES, 2, 2, 1)]
    assert books.commands == [(EXAMPLES, 0, 0, 2), (EXAMPLES, 0, 2, 1), *steps, *steps, (LOGITS, 1, 0, 2)]


def test_missing_examples_have_weight_zero(toy: Toy) -> None:
    one, books = engine(toy, MpSpdzOptions(examples=4, tile=4))
    one.load_examples("train", batch(toy, 3))
    one.losses("train", toy.z)
    assert books.tiles[0][-1].tolist() == [ONE // 8, ONE // 4, 3 * ONE // 8, 0]


def test_sets_that_do_not_fit_together_are_shared_again(toy: Toy) -> None:
    one, books = engine(toy, MpSpdzOptions(examples=4, tile=2))
    for name, count in (("train", 4), ("dev", 2)):
        one.load_examples(name, batch(toy, count))
    assert one.losses("train", toy.z).tolist() == [1.25, 1.25]
    assert one.losses("dev", toy.z).tolist() == [0.375, 0.375]
    assert [c for c in books.commands if c[0] == EXAMPLES] == [
        (EXAMPLES, 0, 0, 2), (EXAMPLES, 0, 0, 1), (EXAMPLES, 0, 0, 2), (EXAMPLES, 0, 0, 1),
    ]  # fmt: skip


def test_a_set_larger_than_the_program_is_evaluated_in_pieces(toy: Toy) -> None:
    one, _ = engine(toy, MpSpdzOptions(examples=4, tile=2))
    one.load_examples("test", batch(toy, 9))
    assert one.losses("test", toy.z).tolist() == [45 / 8, 45 / 8]
    np.testing.assert_array_equal(one.logits("test", toy.z[0])[:, 0], np.arange(1, 10) / 8)


def test_more_candidates_than_the_program_takes_are_evaluated_in_turn(toy: Toy) -> None:
    one, books = engine(toy, MpSpdzOptions(examples=4, tile=4))
    one.load_examples("train", batch(toy, 4))
    assert one.losses("train", np.resize(toy.z, (7, 4))).tolist() == [1.25] * 7
    assert [c[1] for c in books.commands if c[0] == LOSSES] == [3, 3, 1]


def test_progress_counts_the_tiles_of_a_whole_step(toy: Toy) -> None:
    heard: list[tuple[int, int]] = []
    one, books = engine(toy, MpSpdzOptions(examples=4, tile=2), lambda done, total: heard.append((done, total)))
    one.load_examples("train", batch(toy, 5))  # two pieces, of two tiles and one
    assert heard == []
    one.losses("train", toy.z)
    assert heard == [(0, 0), *((i, 6) for i in range(1, 7))]
    assert books.heard == 6 + 3  # and when tiles of examples have arrived


def test_a_set_may_be_replaced(toy: Toy) -> None:
    one, _ = engine(toy, MpSpdzOptions(examples=4, tile=4))
    one.load_examples("train", batch(toy, 4))
    one.load_examples("train", batch(toy, 2))
    assert one.losses("train", toy.z).tolist() == [0.375, 0.375]


def test_inputs_are_checked_before_anything_is_sent(toy: Toy) -> None:
    one, books = engine(toy, MpSpdzOptions(examples=4, tile=4))
    inputs = batch(toy, 4).inputs
    with pytest.raises(InputError, match=r"examples train: mask has shape \[4, 5\], expected \[4, 6\]"):
        one.load_examples("train", Batch({**inputs, "mask": inputs["mask"][:, :5]}))
    with pytest.raises(InputError, match="no input other"):
        one.load_examples("train", Batch({**inputs, "other": inputs["x"]}))
    with pytest.raises(RangeError, match=r"examples train: x: magnitude 2e\+04 is too large; .* below 16384"):
        one.load_examples("train", Batch({**inputs, "x": inputs["x"] + 2e4}))
    with pytest.raises(InputError, match="no set of examples 'dev'; known: none"):
        one.losses("dev", toy.z)
    one.load_examples("train", batch(toy, 4))
    with pytest.raises(InputError, match="candidates have 3 coordinates, the program takes 4"):
        one.losses("train", toy.z[:, :3])
    assert [c[0] for c in books.commands] == [EXAMPLES]


def test_every_prompt_has_its_part_of_the_candidate(tmp_path: Path) -> None:
    toy = Toy(tmp_path, deep=True)
    program = translate(toy.plan, MpSpdzOptions())
    prompts = [value for value in toy.plan if value.kind == "prompt"]
    assert [c.name for c in program.candidates] == ["z_rows", "z_rows_1"]
    first, second = (prompt_rows(prompt, toy.z) for prompt in prompts)
    assert first.shape == second.shape == (2, 2, 16)
    changed = toy.z.copy()
    changed[:, 4:] = 0
    np.testing.assert_array_equal(prompt_rows(prompts[0], changed), first)
    assert not prompt_rows(prompts[1], changed).any()


def test_weights_out_of_range_are_named(toy: Toy) -> None:
    weights = {**toy.weights, "head.out.weight": np.full_like(toy.weights["head.out.weight"], 2e4)}
    with pytest.raises(RangeError, match=r"weight head\.out\.weight: magnitude 2e\+04"):
        list(weight_words(translate(toy.plan, MpSpdzOptions()), MpSpdzOptions(), weights))
