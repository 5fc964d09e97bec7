"""What a run shows: plain lines, a bar on a terminal, how far a step is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from secfwt.runtime import progress
from secfwt.runtime.progress import LiveDisplay, PlainDisplay, Status, Step, clock, make_display


def test_plain_lines() -> None:
    stream = io.StringIO()
    display = make_display(Console(file=stream, width=200))
    assert type(display) is PlainDisplay
    display.start(0, 10)
    display.note("[not markup]")
    display.update(Status(2, 10, 0.51234, 0.6, 20, 1_500_000))
    display.stop()
    first, second = stream.getvalue().splitlines()
    assert first == "[not markup]"
    assert second.startswith("generation 2/10  loss 0.5123  dev 0.6000  ")
    assert "1.5 MB" in second
    assert second.endswith(" left")


def test_bytes_that_nobody_knows_are_not_shown() -> None:
    assert " MB " not in Status(2, 10, 0.5, 0.6, 20, 0).text(1.0, 2)


def test_share_and_time_left_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    step = Step()
    assert step.text(0, 10) == "0%"
    now = 108.0
    assert step.text(4, 10) == "40%, 0:12 left"
    now = 113.0
    assert step.text(4, 10) == "40%, 0:07 left"
    now = 133.0
    assert step.text(4, 10) == "40%, 0:00 left"
    assert step.text(10, 10) == "100%, 0:00 left"


def test_every_step_has_a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    display = PlainDisplay(Console(file=stream, width=200))
    display.part(0, 0)
    now = 110.0
    display.part(5, 10)
    display.part(0, 0)
    now = 111.0
    display.part(1, 10)
    assert stream.getvalue() == "preparing: 50%, 0:10 left\npreparing: 10%, 0:09 left\n"


def test_quick_steps_print_nothing() -> None:
    stream = io.StringIO()
    display = PlainDisplay(Console(file=stream, width=200))
    display.start(0, 10)
    for done in range(1, 100):
        display.part(done, 100)
    assert stream.getvalue() == ""


def test_long_steps_say_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    stream = io.StringIO()
    display = PlainDisplay(Console(file=stream, width=200))
    display.part(1, 4)
    display.start(2, 10)
    display.part(2, 4)
    display.update(Status(3, 10, 0.5, 0.6, 30, 0))
    display.part(3, 4)
    display.stop()
    display.part(4, 4)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("preparing: 25%, ")
    assert lines[1].startswith("generation 3/10: 50%, ")
    assert lines[2].startswith("generation 3/10  loss")
    assert lines[3].startswith("generation 4/10: 75%, ")
    assert lines[4].startswith("finishing: 100%, ")


def test_live_bar_on_a_terminal() -> None:
    stream = io.StringIO()
    display = make_display(Console(file=stream, width=160, force_terminal=True, legacy_windows=False))
    assert isinstance(display, LiveDisplay)
    display.part(1, 2)  # before the search there is no bar
    display.start(3, 10)
    display.update(Status(4, 10, 0.5, 0.6, 40, 0))
    display.part(1, 4)
    display._bar.refresh()
    assert "(step: 25%, " in stream.getvalue()
    display.stop()
    display.stop()
    display.part(2, 4)
    assert "generation 4/10" in stream.getvalue()
    assert "(step" not in stream.getvalue().splitlines()[-1]


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 3599, 3725)] == ["0:00", "1:00", "59:59", "1:02:05"]
