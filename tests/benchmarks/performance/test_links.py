"""Runs over networks next to what is expected of them."""

from __future__ import annotations

from functools import partial

import pytest
from helpers.benchmark_rows import TOY
from secfwt.codegen.native.network import Network as Rates

from performance import layer, links
from processes.network import Network


def test_expected_is_the_time_here_and_what_the_network_adds() -> None:
    seen: list[Network] = []

    def run(network: Network) -> links.Spent:
        seen.append(network)
        return links.Spent(2.0 if len(seen) == 1 else 7.0, 1e6, 10)

    (row,) = links.over("tune", [Rates("WAN", 8e6, 0.2)], run)
    assert (row.seconds_here, row.seconds, row.rounds, row.busiest_megabytes) == (2.0, 7.0, 10, 1.0)
    assert row.expected_seconds == pytest.approx(2 + 10 * 0.2 + 1)
    assert row.ratio == pytest.approx(7 / 5)
    assert len(seen) == 2


def test_what_a_session_cost_is_read_off_the_parties() -> None:
    assert (found := links.SESSION.search("party 0: session over: 12.5 s computing, 3.0 MB sent, 40 rounds"))
    assert links.slowest([found.groups(), ("9.0", "4.0", "39")]) == links.Spent(12.5, 4e6, 40)


def test_parties_of_a_network_wait_for_its_latency() -> None:
    network = Network(0.02)
    row = layer.measure(TOY, 4, 1, "rfa", 4, 0, 1, partial(links.LinkedParties, network))
    network.close()
    assert row.max_error < 0.02
    assert row.seconds > 0.02 * row.rounds
