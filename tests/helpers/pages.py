"""Tables of the documentation that are made from the sources: between `<!-- name: from FILE -->` and `<!-- end -->`."""

from __future__ import annotations

import os
import re
from pathlib import Path

UPDATE = "SECFWT_UPDATE_GOLDEN"


def check_made(page: Path, name: str, made: str) -> None:
    """Fail unless a page has the text that the sources make; with SECFWT_UPDATE_GOLDEN=1, write it there."""
    text = page.read_text("utf-8")
    found = re.search(rf"^<!-- {name}: .*? -->\n(.*?)<!-- end -->$", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no <!-- {name}: … --> with an <!-- end -->"
    if os.environ.get(UPDATE):
        page.write_text(text[: found.start(1)] + made + text[found.end(1) :], "utf-8")
    else:
        assert found.group(1) == made, f"{page}: run with {UPDATE}=1 if the change is meant"
