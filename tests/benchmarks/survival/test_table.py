"""The table of faults in docs/deployment.md is that of the rows, and every row is as documented."""

from __future__ import annotations

import re

from helpers.places import ROOT

from faults import read
from survival.table import table


def test_the_page_has_the_rows() -> None:
    rows = read(ROOT / "benchmarks" / "results" / "faults.csv")
    assert rows
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    found = re.search(r"<!-- faults: .* -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found
    assert found[1] == table(rows), "run benchmarks/faults.py --table"
    assert {row.verdict for row in rows} == {"as documented"}
