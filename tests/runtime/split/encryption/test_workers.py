"""Work by threads comes back in order, a little ahead of whoever takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from secfwt.runtime.split.encryption.workers import THREADS, in_order


def test_results_have_the_items_order() -> None:
    """Also where the first is the last to be done."""
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0 and THREADS > 1:
            assert later.wait(10)
        if item == 1:
            later.set()
        return item * item

    assert list(in_order(work, range(50))) == [item * item for item in range(50)]


def test_items_are_taken_by_the_caller_and_hardly_ahead() -> None:
    """A connection is read by one thread, and what is read is not kept."""
    taken: list[threading.Thread] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(threading.current_thread())
            yield item

    results = in_order(lambda item: item, items())
    assert next(results) == 0
    assert len(taken) == THREADS + 1
    assert set(taken) == {threading.current_thread()}
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == THREADS + 1


def test_what_work_raises_comes_in_its_place() -> None:
    def work(item: int) -> int:
        return 10 // item

    results = in_order(work, [5, 2, 0, 1])
    assert [next(results), next(results)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(results)
