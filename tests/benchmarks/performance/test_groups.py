"""A step on groups of parties, measured on a toy, and simulated."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import Any

import pytest
from helpers.benchmark_rows import TOY
from secfwt.codegen.native.network import NETWORKS, Network

from performance import groups
from performance.generation import Generation
from performance.groups import Host, simulated

SIZE = Generation(replace(TOY, layers=2), 1, candidates=5, examples=4, tokens=4, features=4)


def test_groups_are_measured_and_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(groups.rows_of(SIZE, [1, 2], [2, 3], runs=1, cores=1))
    measured, rest = rows[:2], rows[2:]
    assert [(row.benchmark, row.groups, row.parties) for row in measured] == [("measured", 1, 3), ("measured", 2, 6)]
    assert all(row.max_error < 0.02 for row in measured)
    assert measured[0].efficiency == 1
    assert [(row.groups, row.network) for row in rest] == [(n, str(net)) for net in NETWORKS for n in (2, 3)]
    assert all(isnan(row.max_error) and row.seconds > 0 for row in rest)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hundredth of a second per pair, two to begin with, 60 rounds and 3 MB per pair."""
    cost = type("Cost", (), {"rounds": 60, "bytes": 0})
    monkeypatch.setattr(groups, "generation_cost", lambda ring, c, e: type("Of", (cost,), {"bytes": 3_000_000 * c * e}))
    return lambda network, fixed=0.0: Host(None, fixed, 0.01, network, 1)  # type: ignore[arg-type]


def test_what_a_piece_takes(host: Any) -> None:
    slow = Network("slow", 8e6, 0.1)
    assert host(slow, 2.0).seconds(3, 4) == pytest.approx(2 + 0.12 + 60 * 0.1 + 12)
    fitted = Host.fitted(groups.work(SIZE), [(10, 3.0), (40, 6.0)], slow, 1)
    assert (fitted.fixed, fitted.per_pair) == (pytest.approx(2.0), pytest.approx(0.1))


def test_eight_groups_on_3_gbit_per_second_waste_little(host: Any) -> None:
    size = replace(SIZE, candidates=21, examples=64)
    fast = host(NETWORKS[0])
    alone, sent, _ = simulated(size, fast, 1)
    assert alone == pytest.approx(fast.seconds(21, 64))
    assert sent == 3_000_000 * 21 * 64
    for number, least in ((2, 0.9), (8, 0.8), (64, 0.7)):
        took, all_sent, _ = simulated(size, fast, number)
        assert least < alone / took / number <= 1.0 + 1e-9
        assert all_sent == sent
