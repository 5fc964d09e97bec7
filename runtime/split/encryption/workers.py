"""Work on ciphertexts by several threads: SEAL, AES and numpy let others run meanwhile."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
THREADS = len(os.sched_getaffinity(0))


def in_order(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """`work` of each item, in the items' order.

    Items are taken by the caller's thread, when it asks for a result: at most one more than there are threads are
    being worked on, or wait to be taken. Raises what `work` does, in its item's place.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        working: deque[Future[U]] = deque()
        try:
            for item in items:
                working.append(pool.submit(work, item))
                if len(working) > THREADS:
                    yield working.popleft().result()
            while working:
                yield working.popleft().result()
        finally:
            for future in working:
                future.cancel()
