"""`secfwt-predict` and `secfwt-evaluate` on a toy's run: what they say, open, keep and refuse."""

from __future__ import annotations

import csv
import io
import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import Ended, run
from helpers.toys import save_toy
from helpers.tune_runs import BASE, tune, write_data, write_toy
from secfwt.runtime.commands.evaluate import main as evaluate_main
from secfwt.runtime.commands.predict import main as predict_main
from secfwt.runtime.data.examples import read_examples
from secfwt.runtime.engine import Floats, Left
from secfwt.runtime.tuning import clear
from secfwt.runtime.tuning.clear import ClearEngine

TEXTS = ["a very good film", "the film was bad", "news of the world"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A model, its data and a finished run."""
    folder = tmp_path_factory.mktemp("tuned")
    model, data = write_toy(folder)
    done = tune("--model", model, "--data", data, *BASE, "--budget", 12, "--run", folder / "run")
    assert done.exit_code == 0, done.output
    return model, data, folder / "run"


@pytest.fixture
def finished(tuned: tuple[Path, Path, Path], tmp_path: Path) -> Path:
    """A copy of the run, so that each test may add to it."""
    shutil.copytree(tuned[2], tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of logits by step."""
    rows: list[int] = []
    inner = ClearEngine.logits

    def counted(self: ClearEngine, name: str, z: Floats) -> Floats:
        logits = inner(self, name, z)
        rows.append(len(logits))
        return logits

    monkeypatch.setattr(clear.ClearEngine, "logits", counted)
    return rows


def predict(*words: object) -> Ended:
    return run(predict_main, *words)


def evaluate(*words: object) -> Ended:
    return run(evaluate_main, *words)


def write_texts(path: Path, texts: list[str] = TEXTS) -> Path:
    path.write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(texts)))
    return path


def opened(folder: Path) -> dict[str, list[float]]:
    lines = map(json.loads, (folder / "opened.jsonl").read_text().splitlines())
    return {each["row"]: each["logits"] for each in lines}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_labels_with_probabilities(finished: Path, tmp_path: Path, asked: list[int]) -> None:
    new, out = write_texts(tmp_path / "new.csv"), tmp_path / "out.csv"
    done = predict("--run", finished, "--data", new, "-o", out, "--batch-size", 2)
    assert done.exit_code == 0, done.output
    assert asked == [2, 1]
    assert "batch 2/2  3 texts" in done.output
    rows = rows_of(out.read_text())
    assert [row["text"] for row in rows] == TEXTS
    assert list(rows[0]) == ["text", "label", "probability", "p(bad)", "p(good)"]
    for row in rows:
        chances = {name: float(row[f"p({name})"]) for name in ("bad", "good")}
        assert sum(chances.values()) == pytest.approx(1, abs=2e-6)
        assert row["label"] == max(chances, key=lambda name: chances[name])
        assert float(row["probability"]) == max(chances.values())
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_the_same_preprocessing_as_the_run(finished: Path, tuned: tuple[Path, Path, Path], asked: list[int]) -> None:
    """The test set's rows are those that the run opened, to the last bit, when they are opened again."""
    before = opened(finished)
    (finished / "opened.jsonl").unlink()
    assert evaluate("--run", finished, "--prompt", "both", "--batch-size", 16).exit_code == 0
    assert asked == [16, 16]
    assert opened(finished) == before


@pytest.mark.parametrize("shots", [0, 4])
def test_prototypes_are_made_again_of_the_runs_shots(tmp_path: Path, asked: list[int], shots: int) -> None:
    model, data = write_toy(tmp_path)
    done = tune(
        "--model", model, "--data", data, *BASE, "--budget", 8, "--run", tmp_path / "run", "--prototype-shots", shots
    )
    assert done.exit_code == 0, done.output
    before, result = opened(tmp_path / "run"), json.loads((tmp_path / "run" / "result.json").read_text())
    assert ("beside label texts or words, by dev loss" in done.output) == bool(shots)
    assert bool(result["shots"]) == bool(shots)
    assert (tmp_path / "run" / "shots.jsonl").exists() == bool(shots)
    (tmp_path / "run" / "opened.jsonl").unlink()
    if not shots:  # as it is of a run whose head took none when it was made, and would by now
        path = tmp_path / "run" / "options.json"
        stored = json.loads(path.read_text())
        stored["options"]["prototype_shots"] = None
        path.write_text(json.dumps(stored))
    assert evaluate("--run", tmp_path / "run", "--prompt", "both").exit_code == 0
    assert opened(tmp_path / "run") == before
    if shots:
        (tmp_path / "run" / "shots.jsonl").unlink()
        (tmp_path / "run" / "opened.jsonl").unlink()
        gone = evaluate("--run", tmp_path / "run", "--prompt", "both")
        assert gone.exit_code == 2
        assert "shots.jsonl" in gone.output
        assert "no such file" in gone.output


@pytest.mark.parametrize("good", [4, 5])
def test_prototypes_are_of_all_shots_whatever_dev_has(tmp_path: Path, good: int) -> None:
    """A dev set of other size, with labels in the proportions of the training set and in others."""
    model, data = write_toy(tmp_path)
    lines, dev = data.read_text().splitlines(), tmp_path / "dev.jsonl"
    dev.write_text("\n".join(lines[-2 * good :: 2] + lines[-7::2]) + "\n")
    test = tmp_path / "test.jsonl"
    test.write_text("\n".join(lines[8:12]) + "\n")
    data.write_text("\n".join(lines[:6]) + "\n")
    done = tune(
        "--model", model, "--data", data, "--dev", dev, "--test", test, *BASE, "--k-shot", 0, "--budget", 8,
        "--run", tmp_path / "run", "--prototype-shots", 4,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    before = opened(tmp_path / "run")
    (tmp_path / "run" / "opened.jsonl").unlink()
    assert evaluate("--run", tmp_path / "run", "--prompt", "both").exit_code == 0
    after = opened(tmp_path / "run")
    assert before.keys() == after.keys()
    for row, logits in before.items():
        assert after[row] == pytest.approx(logits, abs=1e-6)


def test_what_was_opened_is_not_opened_again(finished: Path, tmp_path: Path, asked: list[int]) -> None:
    new = write_texts(tmp_path / "new.csv", [*TEXTS, *TEXTS])
    first = predict("--run", finished, "--data", new)
    assert first.exit_code == 0, first.output
    assert asked == [3], "each different text once"
    assert len(rows_of(first.stdout)) == 6
    again = predict("--run", finished, "--data", new)
    assert (again.stdout, asked) == (first.stdout, [3])
    assert "opened   3 texts before" in again.stderr
    assert predict("--run", finished, "--text", "a film", "--text", TEXTS[0]).exit_code == 0
    assert asked == [3, 1]


def test_an_interrupted_prediction_goes_on(
    finished: Path, tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, out = write_texts(tmp_path / "new.csv"), tmp_path / "out.csv"
    inner = ClearEngine.load_examples

    def dies(self: ClearEngine, name: str, batch: object) -> None:
        if len(asked) == 2:
            raise KeyboardInterrupt
        inner(self, name, batch)  # type: ignore[arg-type]

    command = ["--run", finished, "--data", new, "-o", out, "--batch-size", 1]
    with monkeypatch.context() as patch:
        patch.setattr(ClearEngine, "load_examples", dies)
        stopped = predict(*command)
    assert stopped.exit_code == 130
    assert "go on with the same command" in stopped.stderr
    assert not out.exists()
    with (finished / "opened.jsonl").open("ab") as file:
        file.write(b'{"row": "torn')
    assert predict(*command).exit_code == 0
    assert asked == [1, 1, 1]
    assert len(rows_of(out.read_text())) == 3


def test_without_a_prompt(finished: Path, asked: list[int]) -> None:
    tuned, none = (predict("--run", finished, "--text", TEXTS[0], "--prompt", p) for p in ("tuned", "none"))
    assert asked == [1, 1]
    assert rows_of(tuned.stdout)[0]["p(bad)"] != rows_of(none.stdout)[0]["p(bad)"]
    result = json.loads((finished / "result.json").read_text())
    said = evaluate("--run", finished, "--prompt", "none")
    assert f"accuracy     {result['test_zero_shot']:.1%}" in said.stdout
    assert asked == [1, 1], "the run has opened its test set"


def test_standard_input_and_json(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(TEXTS) + "\n\n"))
    assert predict("--run", finished, "-o", tmp_path / "out.jsonl").exit_code == 0
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["text"] for record in records] == TEXTS
    assert all(isinstance(record["p(good)"], float) for record in records)


def test_no_more_than_the_parties_open(
    finished: Path, tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClearEngine, "allowance", lambda self: Left(None, 2 - sum(asked)))
    new = write_texts(tmp_path / "new.csv")
    refused = predict("--run", finished, "--data", new)
    assert refused.exit_code == 2
    assert "this opens 3 rows of logits; with these weights the parties open 2 more: ask for 2 texts" in refused.stderr
    assert asked == []
    done = predict("--run", finished, "--text", *TEXTS[:2])
    assert done.exit_code == 0
    assert "0 rows of logits left" in done.stderr


def test_logits_that_cannot_be_have_no_label(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = ClearEngine.logits
    monkeypatch.setattr(ClearEngine, "logits", lambda self, name, z: inner(self, name, z) * [[1e6], [1]])
    done = predict("--run", finished, "--text", *TEXTS[:2])
    assert "warning  logits of 1 of 2 texts are beyond" in done.stderr
    assert [bool(row["label"]) for row in rows_of(done.stdout)] == [False, True]
    assert rows_of(done.stdout)[0]["p(bad)"] == ""


def test_an_evaluation(finished: Path, tuned: tuple[Path, Path, Path], asked: list[int]) -> None:
    first = json.loads((finished / "evaluation.json").read_text())
    result = json.loads((finished / "result.json").read_text())
    assert first["tuned"]["accuracy"]["value"] == result["test_tuned"]
    assert first["gain"]["value"] == pytest.approx(result["test_tuned"] - result["test_zero_shot"])
    done = evaluate("--run", finished, "--prompt", "both")
    assert done.exit_code == 0, done.output
    assert json.loads((finished / "evaluation.json").read_text()) == first
    assert (finished / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    assert "points, 95 % interval" in done.stdout
    assert asked == []
    other = evaluate("--run", finished, "--data", tuned[1])
    assert other.exit_code == 0, other.output
    kept = json.loads((finished / "films" / "evaluation.json").read_text())
    assert kept["tuned"]["examples"] == len(read_examples(tuned[1])) == sum(map(sum, kept["tuned"]["confusion"]))


def test_numbered_labels_stay_the_datas(tmp_path: Path) -> None:
    save_toy(tmp_path / "model", "distilbert", "classification")
    write_data(tmp_path / "numbers.jsonl", ("1", "0"))
    where = ["--model", tmp_path / "model", "--data", tmp_path / "numbers.jsonl", "--run", tmp_path / "run"]
    assert tune(*where, *BASE, "--budget", 4).exit_code == 0
    rows = rows_of(predict("--run", tmp_path / "run", "--text", *TEXTS).stdout)
    assert list(rows[0]) == ["text", "label", "probability", "p(0)", "p(1)"]
    assert {row["label"] for row in rows} <= {"0", "1"}
    assert evaluate("--run", tmp_path / "run").exit_code == 0


def test_on_local_parties(tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """The same rows as in the clear, to the engine's precision; the parties count them."""
    model, data, _ = tuned
    private = [*BASE[2:], "--engine", "embedded", "--budget", 4, "--max-logit-rows", 40, "--run", tmp_path / "private"]
    done = tune("--model", model, "--data", data, *private)
    assert done.exit_code == 0, done.output
    clear_run = ["--model", model, "--data", data, *BASE, "--budget", 4, "--run", tmp_path / "clear"]
    assert tune(*clear_run).exit_code == 0
    rows = [
        rows_of(predict("--run", tmp_path / name, "--text", *TEXTS, "--prompt", "none", "--batch-size", 2).stdout)
        for name in ("private", "clear")
    ]
    mine, expected = (np.array([float(row["p(good)"]) for row in each]) for each in rows)
    assert np.abs(mine - expected).max() < 0.02, (
        "0.007 are the kernels' on this toy, 0.0013 is the truncations' deviation"
    )
    refused = predict("--run", tmp_path / "private", "--text", *[f"film number {'a ' * i}" for i in range(41)])
    assert "the parties open 40 more" in refused.stderr, "local parties are new ones, with the whole budget"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "a", "--data", "b.csv"], "--data and --text are given\n  Choose one."),
        (["--text", "a", "-o", "labels.txt"], "Its name must end with .csv or .jsonl."),
        (["--text", "a", "-o", "/nowhere/labels.csv"], "/nowhere: No such file or directory"),
        (["--text", " "], "--text: 1 problem\n  no texts"),
        (["--data", "/nowhere.csv"], "/nowhere.csv: 1 problem\n  no such file"),
        (["--text", "a", "--batch-size", 0], "--batch-size is 0\n  It must be at least 1."),
        (["--text", "a", "--text-column", "a,b,c", "--data", "/x.csv"], "Choose one"),
    ],
)
def test_wrong_input(finished: Path, words: list[object], message: str) -> None:
    said = predict("--run", finished, *words)
    assert said.exit_code == 2
    assert message in said.stderr


def test_runs_that_cannot_be_used(finished: Path, tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    assert "--run is missing" in predict("--text", "a").stderr
    assert "holds no run" in predict("--run", tmp_path / "none", "--text", "a").stderr
    (finished / "prompt.npz").rename(finished / "elsewhere")
    assert "has no prompt yet: prompt.npz is missing; finish" in predict("--run", finished, "--text", "a").stderr
    (finished / "prompt.npz").write_bytes(b"nothing")
    assert "cannot be read" in predict("--run", finished, "--text", "a").stderr
    (finished / "elsewhere").replace(finished / "prompt.npz")
    shutil.copytree(tuned[0], tmp_path / "model")
    save_toy(tmp_path / "model", "bert", "prototypes", intermediate_size=40)
    options = json.loads((finished / "options.json").read_text())
    options["options"]["model"] = str(tmp_path / "model")
    (finished / "options.json").write_text(json.dumps(options))
    refused = predict("--run", finished, "--text", "a")
    assert refused.exit_code == 2
    assert "is for another model: changed since the run: program, embeddings, layers, weights" in refused.stderr
