"""`report.html`: what it says of a run, finished or not, and how it looks in a browser."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import browser
from helpers.tune_runs import BASE, tune, write_toy
from secfwt.codegen.plan.graph import Output
from secfwt.runtime.commands.tune import COMMAND
from secfwt.runtime.interface.tuner import PromptTuner
from secfwt.runtime.reporting.page import Facts, Reached, page
from secfwt.runtime.reporting.seen import views
from secfwt.runtime.reporting.settings import Setting, command
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.run_folder import TuningRun
from secfwt.runtime.tuning.session import own_options

SECTIONS = ["accuracy", "losses", "confusion", "cost", "seen", "settings"]
LOOK = """
document.querySelectorAll("details").forEach(each => each.open = true);
({
  sections: [...document.querySelectorAll("section")].map(each => each.id),
  empty: [...document.querySelectorAll("section")].filter(each => each.innerText.length < 40).map(each => each.id),
  missing: [...document.images].filter(each => !each.complete || !each.naturalWidth).length,
  images: document.images.length,
  scripts: document.scripts.length,
  sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  smallest: Math.min(...[...document.querySelectorAll("p, td, th, code")].map(
    each => parseFloat(getComputedStyle(each).fontSize))),
  text: document.body.innerText,
})
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    model, data = write_toy(folder)
    done = tune("--model", model, "--data", data, *BASE, "--budget", 12, "--run", folder / "run")
    assert done.exit_code == 0, done.output
    assert "report.html" in done.output
    return folder / "run"


def text_of(run: Path) -> str:
    """The page without tags, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", (run / "report.html").read_text()).split())


def test_a_finished_run(finished: Path) -> None:
    result, text = json.loads((finished / "result.json").read_text()), text_of(finished)
    evaluation = json.loads((finished / "evaluation.json").read_text())
    for name in ("none", "tuned"):
        low, high = (f"{100 * evaluation[name]['accuracy'][end]:.1f} %" for end in ("low", "high"))
        assert f"{low} to {high}" in text
    assert f"{result['start_dev']:.4f} to {result['best_dev']:.4f}" in text
    assert result["phases"].keys() == {"examples", "losses without a prompt", "search", "dev choice", "test"}
    assert all(phase in text for phase in result["phases"])
    assert result["opened"] == {"losses": 2 + 6 + 3 * (4 + 2), "rows of logits": 2 * 16}  # six weights of the shots
    assert "Not private" in text
    assert "Not finished" not in text


def test_it_can_be_repeated(finished: Path) -> None:
    options, _ = TuningRun.read_options(finished)
    line = command("secfwt-tune", TuneOptions, options | {"label_texts": ("good=It's good.", "bad=x")}, ["k_shot"])
    typed = COMMAND.parse(shlex.split(line)[1:])
    assert typed.of(TuneOptions)["label_texts"] == ("good=It's good.", "bad=x")
    shown = re.search(r"<pre>(secfwt-tune .*?)</pre>", (finished / "report.html").read_text())
    assert shown
    typed = COMMAND.parse(shlex.split(shown[1])[1:])
    assert json.loads(json.dumps(own_options(typed.of(TuneOptions), "thorough")[0].to_json())) == options


def test_an_interrupted_run(finished: Path, tmp_path: Path) -> None:
    options, _ = TuningRun.read_options(finished)

    def interrupt(line: dict[str, Any]) -> None:
        if line["generation"] == 2:
            raise KeyboardInterrupt

    given = {name: options[name] for name in ("model", "data", "k_shot", "budget", "engine")}
    small = {"prompt_layer": 1, "popsize": 4, "intrinsic_dim": 6, "sequence_length": 12, "n_prompt_tokens": 2}
    tuner = PromptTuner(callbacks=[interrupt], verbose=False, attention="rfa", eval_every=1, **given, **small)
    with pytest.raises(KeyboardInterrupt):
        tuner.tune(tmp_path / "run")
    text = text_of(tmp_path / "run")
    assert "Not finished: 2 of 3 generations" in text
    assert f"secfwt-tune --resume {tmp_path / 'run'}" in text
    assert tuner.resume(tmp_path / "run").result_["opened"] == {"losses": 26, "rows of logits": 32}
    assert "Not finished" not in text_of(tmp_path / "run")


def made_up(labels: int, name: str) -> tuple[Facts, Reached, list[dict[str, Any]], dict[str, Any]]:
    cost = {"seconds": 3.2, "bytes_sent": 7e9, "rounds": 1530, "peak_bytes": 9e8, "steps": 3}
    outputs = [Output("loss", 1, max_opened=400), Output("logits", 2)]
    facts = Facts(
        name, f"6 layers, {name}", "embedded", True, [name] * labels, {"train": 16},
        [Setting("--model", name, True, name)], {"data": "9" * 64}, outputs, 2, "base", 10,
        f"secfwt-tune {name}", "again",
    )  # fmt: skip
    reached = Reached(1, 8, 0.9, 0.8, 0.7, 0.7, 1, {"search": cost}, {"losses": 17}, 60.0, "budget spent")
    share = {"value": 0.5, "low": 0.2, "high": 0.8}
    each = {"name": name, "examples": 3, "precision": share, "recall": share, "f1": 0.5}
    measured = {
        "examples": 3, "accuracy": share, "macro_f1": share, "calibration_error": share, "classes": [each] * labels,
        "confusion": [[1] * labels] * labels,
    }  # fmt: skip
    history = [{"generation": 1, "losses": [0.9, None, 0.8], "dev": [None, None]}]
    return facts, reached, history, {"none": measured, "tuned": measured}


def test_names_are_text() -> None:
    name = "<script>alert('a')</script>"
    whole = page(*made_up(3, name))
    assert "<script" not in whole
    assert "&lt;script&gt;" in whole


def test_what_noise_keeps_private_is_said() -> None:
    facts, reached, history, evaluation = made_up(3, "a class")
    assert "Noise on losses" not in page(facts, reached, history, evaluation)
    said = replace(reached, privacy={"statement": "9 losses of train: (ε = 2, δ = 1e-05)-differential privacy"})
    assert "Noise on losses: 9 losses of train: (ε = 2, δ = 1e-05)" in page(facts, said, history, evaluation)


def test_of_many_classes_the_most_frequent_confusions() -> None:
    facts, reached, history, evaluation = made_up(77, "a class")
    assert page(facts, reached, history, evaluation).count("<td>a class</td><td>a class</td>") == 20
    none = page(facts, replace(reached, stopped=""), history, {})
    assert "Nothing was measured" in none
    assert "Confusion" not in none


def test_who_saw_what() -> None:
    outputs = [Output("loss", 1, max_opened=400), Output("logits", 2)]
    loss, logits, *others = views(outputs, {"losses": 17}, True, 0)
    assert (loss.who, loss.how_often) == ("data owner", "17 times, of at most 400 with these weights")
    assert logits.how_often == "0 times, without a limit"
    assert [each.who for each in others] == ["data owner", "model owner", "each computing party"]
    assert [each.who for each in views(outputs, {}, False, 0)] == ["this process"]
    summed = views([Output("loss", 0, min_owners=2), outputs[1]], {"losses": 17}, True, 0)
    assert [each.who for each in summed[:3]] == ["coordinator", "each data owner", "each data owner"]
    assert summed[0].what == (
        "the sum of losses of one candidate prompt over one set of 2 data owners or more besides itself, 1/16 of each "
        "example's"
    )
    assert summed[1].how_often == "when it measures the prompt by itself"
    noised = views([Output("loss", 1, noise=0.05)], {}, True, 0)[0]
    assert noised.what.endswith("over one set, with noise of standard deviation 0.05 from each party")
    assert "lowest 3 layers" in views(outputs, {}, True, 3, "base")[2].what
    assert views(outputs, {}, True, 3, "base")[2].what.endswith("public but what its LoRA adapter changes")


def test_in_a_browser(finished: Path, tmp_path: Path) -> None:
    many, long = tmp_path / "many.html", tmp_path / "long.html"
    many.write_text(page(*made_up(20, "a class with a name")))
    long.write_text(page(*made_up(3, "<b>" + "x" * 300)))
    with browser(tmp_path / "profile") as running:
        for file in (finished / "report.html", many, long):
            for width in (360, 1200):
                view = running.view(file, width, LOOK)
                assert view.said == []
                assert view.asked == [file.as_uri()]
                seen = view.seen
                assert seen["sections"] == SECTIONS
                assert (seen["empty"], seen["missing"], seen["images"], seen["scripts"]) == ([], 0, 1, 0)
                assert seen["sideways"] <= 0, f"{file.name} is {seen['sideways']} pixels too wide at {width}"
                assert seen["smallest"] >= 12
        assert "<b>xxx" in seen["text"]
