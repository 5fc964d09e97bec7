"""What is asked of an adapter's server, and how often."""

from __future__ import annotations

import numpy as np
from secfwt.runtime.split.asking import RECENT, Asking
from secfwt.runtime.split.encryption.fixed import Floats, Shape

RNG = np.random.default_rng(0)


class Answering:
    """Doubles rows for q, and takes them as they are for v."""

    def __init__(self) -> None:
        names = ("layers.0.q", "layers.0.v"), ("layers.0.o",)
        self.shapes = [Shape(modules, (4,) * len(modules), (1,) * len(modules), 4, 1.0, 8, 8) for modules in names]
        self.rows: list[int] = []

    def ask(self, call: int, rows: Floats) -> list[Floats]:
        self.rows.append(len(rows))
        return [2 * rows, rows][: len(self.shapes[call].modules)]


def test_modules_that_read_the_same_rows_are_one_question() -> None:
    server = Answering()
    asking, rows = Asking(server), RNG.normal(size=(2, 3, 5, 4))
    for name, factor in (("layers.0.q.weight", 2), ("layers.0.v.weight", 1)):
        got = asking.added(name, rows.copy())  # whoever made them
        assert got is not None
        np.testing.assert_array_equal(got, factor * rows)
    assert asking.added("layers.0.k.weight", rows) is None
    asking.added("layers.0.o.weight", rows)  # the same numbers, read by others
    assert server.rows == [30, 30]


def test_rows_that_no_candidate_changes_are_asked_about_once() -> None:
    server = Answering()
    asking, text = Asking(server), RNG.normal(size=(1, 3, 5, 4))
    for _ in range(3):
        asking.added("layers.0.q.weight", text)
        for _ in range(RECENT + 1):
            asking.added("layers.0.v.weight", RNG.normal(size=(2, 3, 1, 4)))
    assert server.rows == [15, *[6] * (RECENT + 1)] + [6] * 2 * (RECENT + 1)


def test_answers_are_forgotten_where_there_is_no_room() -> None:
    server = Answering()
    asking, texts = Asking(server, kept_bytes=2 * 3 * 4 * 8), RNG.normal(size=(RECENT + 2, 1, 1, 3, 4))
    for _ in range(2):
        for text in texts:
            asking.added("layers.0.q.weight", text)
    assert len(server.rows) == 2 * len(texts) - 1  # the first stays


def test_padding_is_not_asked_about() -> None:
    server = Answering()
    rows = RNG.normal(size=(1, 1, 5, 4))
    rows[0, 0, :2] = 0
    got = Asking(server).added("layers.0.q.weight", rows)
    np.testing.assert_array_equal(got, 2 * rows)
    assert Asking(server).added("layers.0.q.weight", np.zeros((1, 1, 5, 4))) is not None
    assert server.rows == [3]
