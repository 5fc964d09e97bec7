"""Command lines of the pages are ones: every option is known, every line runs, the tutorial from top to bottom."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest
from helpers.commands import run
from helpers.doc_commands import PAGES, blocks, commands, lines, split
from helpers.doc_world import MAINS, World, block_commands, why_not
from helpers.places import ROOT
from helpers.toys import save_sentence_transformer

STANDING_IN = ["--engine", "clear", "--attention", "softmax", "--prompt-layer", "1", "--sequence-length", "16"]
"""Of the tutorial's model, which is downloaded with the demo, and of its parties."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_is_known(page: Path) -> None:
    for line in commands(page):
        command, words = split(line)
        if words[:1] in (["--help"], ["--version"]):
            continue
        try:
            command.parse(words)
        except SystemExit:
            pytest.fail(f"{page.name}: {line}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return World(folder)


def test_every_line_that_can_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each, whichever pages have it, in the pages' order: what one line makes, another reads."""
    monkeypatch.chdir(world.folder)
    every = dict.fromkeys(line for page in PAGES if page.stem != "tutorial" for line in block_commands(page))
    for line in every:
        if test := why_not(line):
            assert (ROOT / test).exists(), test
        else:
            ended = world.run(line)
            assert ended.exit_code == 0, f"{line}\n{ended.output}"


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tutorial.md"
    save_sentence_transformer(tmp_path / "model", "bert")
    films, new = blocks(page, "csv")
    (tmp_path / "films.csv").write_text(films)
    (tmp_path / "new.csv").write_text(new)
    done = []
    for block in blocks(page, "sh"):
        for line in lines(block):
            name, *words = shlex.split(line)
            if name == "secfwt-tune" and "--resume" not in words:
                words += ["--model", str(tmp_path / "model"), *STANDING_IN]
            ended = run(MAINS[name], *words)
            assert ended.exit_code == 0, f"{line}\n{ended.output}"
            done.append(name)
    assert done == ["secfwt-tune", "secfwt-tune", "secfwt-evaluate", "secfwt-predict", "secfwt-predict"]
    assert (tmp_path / "runs" / "films" / "report.html").exists()
    with (tmp_path / "labels.csv").open() as file:
        assert [row["label"] in ("good", "bad") for row in csv.DictReader(file)] == [True, True]
    for block in blocks(page, "python"):
        exec(block, {})
