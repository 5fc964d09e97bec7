"""JSON files of a model folder."""

from __future__ import annotations

from pathlib import Path

from secfwt.codegen.commandline.problems import Report
from secfwt.codegen.hub.files import read_json


def test_a_mark_of_the_byte_order_is_no_part_of_json(tmp_path: Path) -> None:
    """Editors of Windows write one."""
    path, report = tmp_path / "config.json", Report()
    path.write_bytes(b'\xef\xbb\xbf{"model_type": "bert"}')
    assert read_json(path, dict, report) == {"model_type": "bert"}
    report.check()


def test_what_is_not_json_is_said(tmp_path: Path) -> None:
    path, report = tmp_path / "config.json", Report()
    path.write_bytes(b'{"model_type": ')
    assert read_json(path, dict, report) is None
    assert "config.json is not JSON" in str(report.problems[0])
