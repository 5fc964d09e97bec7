"""What a conversion shows while it trains."""

import io

import pytest
from rich.console import Console

pytest.importorskip("torch")
from secfwt.runtime.adaptation.training import Progress
from secfwt.runtime.conversion.display import ConversionDisplay


def shown(*, terminal: bool) -> str:
    file = io.StringIO()
    display = ConversionDisplay(Console(file=file, force_terminal=terminal, width=100))
    with display:
        for step in range(1, 5):
            display.update(Progress("whole", step, 4, loss=0.5, parts={"pooled": 0.5}, seconds=2.0 * step))
        display.update(Progress("fitted", 1, 61, loss=0.25, parts={"pooled": 0.25}, seconds=10.0))
        display.update(Progress("fitted", 11, 61, loss=0.25, parts={"pooled": 0.25}, seconds=20.0))
    return file.getvalue()


def test_plain_lines_come_seldom_and_at_the_end_of_a_stage() -> None:
    lines = shown(terminal=False).split("\n")
    assert "whole 1/4  loss 0.5000  …" in lines
    assert "whole 4/4  loss 0.5000  0.5 steps/s, 0:00 left" in lines
    assert not any(line.startswith("whole 2/4") for line in lines), "within ten seconds of the line before"


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    assert "fitted 11/61  loss 0.2500  1.0 steps/s, 0:50 left" in shown(terminal=True)
