"""The cells that there are."""

from __future__ import annotations

from survival.documented import documented, matrix
from survival.faults import FAULTS


def test_every_process_meets_every_fault_at_every_moment() -> None:
    cells = matrix()
    assert len(set(cells)) == len(cells) == 6 * (6 + 2 + 3 * 7) + 6 * (7 + 2 + 3 * 7) + 6 * (3 + 2)
    assert {cell.fault for cell in cells} == set(FAULTS)
    assert all(documented(cell).goes_on or documented(cell).ends for cell in cells)
