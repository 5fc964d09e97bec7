"""Where installed commands begin."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

import pytest
from secfwt.codegen.commandline.entry import entry


def interrupted() -> None:
    raise KeyboardInterrupt


def test_all_commands_begin_there() -> None:
    each = [point for point in entry_points(group="console_scripts") if point.name.startswith("secfwt-")]
    assert len(each) == 14
    for point in each:
        assert callable(point.load())
        if point.attr != "main":  # of a file that is a script, too
            module = dict(zip(point.load().__code__.co_freevars, point.load().__closure__, strict=True))["module"]
            assert callable(import_module(module.cell_contents).main)


def test_an_interruption_before_a_command_has_begun_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("secfwt_slow")
    module.main = interrupted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "secfwt_slow", module)
    with pytest.raises(SystemExit) as end:
        entry("secfwt_slow")()
    assert end.value.code == 130
