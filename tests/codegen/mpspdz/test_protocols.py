"""Protocols of MP-SPDZ: what their rows may say, and the tables of the documentation that follow from them."""

from __future__ import annotations

from typing import get_args

import pytest
from helpers.pages import check_made
from helpers.places import ROOT
from secfwt.codegen.mpspdz import tables
from secfwt.codegen.mpspdz.protocols import PROTOCOLS, ProtocolName


def test_masked_openings_are_for_semi_honest_protocols_over_rings() -> None:
    masked = [row for row in PROTOCOLS.values() if row.masked_openings]
    assert {(row.active, row.domain) for row in masked} == {(False, "ring 2^64")}


def test_only_shares_that_are_numbers_of_a_ring_are_split() -> None:
    split = [row for row in PROTOCOLS.values() if row.split]
    assert all(row.split == row.parties and row.domain == "ring 2^64" for row in split)


def test_an_honest_majority_outnumbers_the_corrupted() -> None:
    for name, row in PROTOCOLS.items():
        assert (2 * row.corruptions < row.parties) == (row.majority == "honest"), name


def test_two_parties_are_told_to_encrypt() -> None:
    assert all(("-e" in row.options) == (row.parties == 2) for row in PROTOCOLS.values())


def test_command_lines_accept_every_row() -> None:
    assert get_args(ProtocolName) == tuple(PROTOCOLS)


@pytest.mark.parametrize("name", ["promises", "ways"])
def test_documentation_has_the_rows(name: str) -> None:
    check_made(ROOT / "docs" / "mp-spdz.md", name, getattr(tables, name)() + "\n")


def test_documentation_of_all_protocols_agrees_with_the_rows() -> None:
    page = (ROOT / "docs" / "protocols.md").read_text("utf-8")
    lines = [line[1:-1].split(" | ") for line in page.splitlines() if line.startswith("| `")]
    said = {cells[0].strip(" `"): tuple(cells[1:3]) for cells in lines if cells[3:4] == ["yes"]}
    expected = {}
    for name, row in PROTOCOLS.items():
        ring = "2^64" + (f", shares 2^{row.share_bits}" if row.share_bits > 64 else "")
        against = f"{row.adversary}; {tables.parties(row)}, {row.corruptions}"
        expected[name] = (against, "prime" if row.domain == "prime field" else ring)
    assert said == expected
