"""What is asked of an adapter's server, and how often."""

from __future__ import annotations

import numpy as np
from secfwt.runtime.split.asking import Asking
from secfwt.runtime.split.encryption.fixed import Floats, Shape

RNG = np.random.default_rng(0)


class Answering:
    """Tells rows; doubles them for q, and takes them as they are for v."""

    def __init__(self) -> None:
        names = ("layers.0.q", "layers.0.v"), ("layers.0.o",)
        self.shapes = [Shape(modules, (4,) * len(modules), (4,), 4, 1.0, 8, (8,)) for modules in names]
        self.rows: list[int] = []

    def ask(self, call: int, rows: Floats) -> Floats:
        self.rows.append(len(rows))
        return rows

    def added(self, call: int, module: int, told: Floats) -> Floats:
        return told * (2, 1)[module]


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


def test_a_row_is_asked_about_once() -> None:
    """Beside others that are new, and among them."""
    server = Answering()
    asking, rows = Asking(server), RNG.normal(size=(1, 1, 5, 4))
    asking.added("layers.0.q.weight", rows[:, :, :3])
    got = asking.added("layers.0.q.weight", rows[:, :, [4, 1, 3, 4]])
    np.testing.assert_array_equal(got, 2 * rows[:, :, [4, 1, 3, 4]])
    assert server.rows == [3, 2]


def test_what_was_not_needed_for_longest_is_forgotten() -> None:
    server = Answering()
    asking, rows = Asking(server, kept_rows=3), RNG.normal(size=(5, 1, 1, 1, 4))
    for i in (0, 1, 2, 0, 3, 0, 2, 3, 1, 4, 0):
        got = asking.added("layers.0.v.weight", rows[i])
        np.testing.assert_array_equal(got, rows[i])
    assert server.rows == [1] * 7  # 0 1 2 3, then 1, 4 and 0 again
    many = RNG.normal(size=(1, 1, 9, 4))
    np.testing.assert_array_equal(asking.added("layers.0.v.weight", many), many)


def test_padding_is_not_asked_about() -> None:
    server = Answering()
    rows = RNG.normal(size=(1, 1, 5, 4))
    rows[0, 0, :2] = 0
    got = Asking(server).added("layers.0.q.weight", rows)
    np.testing.assert_array_equal(got, 2 * rows)
    assert Asking(server).added("layers.0.q.weight", np.zeros((1, 1, 5, 4))) is not None
    assert server.rows == [3]
