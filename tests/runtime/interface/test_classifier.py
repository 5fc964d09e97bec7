"""`from secfwt import PromptClassifier`: fit, ask, keep, scikit-learn's conventions, interrupts, callbacks."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import secfwt
from helpers.commands import run
from helpers.places import ROOT
from helpers.tune_runs import write_toy
from secfwt.runtime.commands.predict import main as predict_main
from secfwt.runtime.data.examples import read_examples
from secfwt.runtime.data.records import DataError
from secfwt.runtime.errors import RunFolderError
from secfwt.runtime.interface.callbacks import TensorBoard
from secfwt.runtime.interface.classifier import PromptClassifier
from secfwt.runtime.interface.reference import page
from secfwt.runtime.interface.tuner import PromptTuner
from secfwt.runtime.tuning.options import TuneOptions

SMALL = {
    "prompt_layer": 1, "popsize": 4, "intrinsic_dim": 6, "attention": "rfa", "sequence_length": 12,
    "n_prompt_tokens": 2, "eval_every": 1, "budget": 8,
}  # fmt: skip
NEW = ["a very good film", "the film was bad"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    model, data = write_toy(tmp_path_factory.mktemp("toy"))
    examples = read_examples(data)
    return model, [str(e.text) for e in examples], [e.label for e in examples]


@pytest.fixture
def clear(toy: tuple[Path, list[str], list[str]]) -> PromptClassifier:
    return PromptClassifier(model=toy[0], engine="clear", **SMALL)


def children() -> list[str]:
    return [process.name() for process in psutil.Process().children(recursive=True) if "secfwt" in process.name()]


def test_fit_and_ask(clear: PromptClassifier, toy: tuple[Path, list[str], list[str]], tmp_path: Path) -> None:
    _, texts, labels = toy
    told: list[dict[str, Any]] = []
    clear.set_params(callbacks=(told.append,))
    assert clear.fit(texts, labels) is clear
    assert clear.classes_.tolist() == ["bad", "good"]
    chances = clear.predict_proba(NEW)
    assert chances.shape == (2, 2)
    assert np.allclose(chances.sum(axis=1), 1)
    assert clear.predict(NEW).tolist() == clear.classes_[chances.argmax(axis=1)].tolist()
    assert clear.score(texts, labels) == clear.evaluate(texts, labels).accuracy.value
    assert [line["generation"] for line in told] == [1, 2]
    assert told[-1]["best_train"] <= min(told[0]["losses"])
    assert told[-1]["cost"]["steps"] > 0
    clear.save(tmp_path / "kept")
    again = PromptClassifier.load(tmp_path / "kept")
    assert np.array_equal(again.predict_proba(NEW), chances)
    assert again.score(NEW, ["goodness", "badly"]) == 0
    with pytest.raises(RunFolderError, match="already holds a run"):
        clear.save(tmp_path / "kept")
    said = run(predict_main, "--run", tmp_path / "kept", "--text", *NEW)
    assert said.exit_code == 0, said.output
    assert [line.split(",")[1] for line in said.stdout.splitlines()[1:]] == clear.predict(NEW).tolist()


@pytest.mark.parametrize("kind", [int, bool, np.int64])
def test_labels_come_back_as_they_were(
    clear: PromptClassifier, toy: tuple[Path, list[str], list[str]], kind: Any, tmp_path: Path
) -> None:
    _, texts, labels = toy
    numbers = [kind(label == "good") for label in labels]
    texts_of = {"0": "bad film", "1": "good film"} if kind is not bool else {"false": "bad film", "true": "good film"}
    clear.set_params(label_texts=texts_of)
    clear.fit(np.array(texts), np.array(numbers), dev=(texts[:6], numbers[:6]))
    assert clear.classes_.tolist() == [0, 1]
    assert clear.classes_.dtype == np.array(numbers).dtype
    assert 0 <= clear.score(texts, numbers) <= 1
    clear.save(tmp_path / "kept")
    again = PromptClassifier.load(tmp_path / "kept")
    assert again.classes_.dtype == clear.classes_.dtype
    assert again.predict(NEW).tolist() == clear.predict(NEW).tolist()


def test_on_parties_of_this_machine(toy: tuple[Path, list[str], list[str]]) -> None:
    model, texts, labels = toy
    private = PromptClassifier(model=model, **{**SMALL, "budget": 4}).fit(texts[:8], labels[:8])
    assert children() == []
    steps = [("dev", 6), ("train", 1), ("dev", 1), ("train", 4), ("dev", 2)]
    assert private.result_["opened"] == {"losses": sum(candidates + 1 for _, candidates in steps)}  # and a canary each
    phases = private.result_["phases"]
    assert list(phases) == ["examples", "losses without a prompt", "search", "dev choice"]
    for what in ("bytes_sent", "rounds", "steps"):
        assert sum(cost[what] for cost in phases.values()) == private.result_["cost"][what]
    with private:
        first = private.predict_proba(NEW)
        assert len(children()) == 3
        assert np.allclose(private.predict_proba([*NEW, "news"])[:2], first)
        assert len(children()) == 3
    assert children() == []


def test_an_interrupted_cell_leaves_no_parties(
    toy: tuple[Path, list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, texts, labels = toy

    def interrupt(line: object) -> None:
        assert len(children()) == 3
        raise KeyboardInterrupt

    stopped = PromptClassifier(model=model, callbacks=(interrupt,), **SMALL)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(texts[:8], labels[:8])
    assert children() == []
    with pytest.raises(RunFolderError, match="call fit"):
        stopped.predict(NEW)


def test_wrong_input(clear: PromptClassifier, toy: tuple[Path, list[str], list[str]]) -> None:
    _, texts, labels = toy
    for given, message in (
        ((texts, labels[:-1]), "24 texts, but 23 labels"),
        ((["a", 5], ["x", "y"]), "text 2 is 5, expected a string"),
        ((["a", "b"], ["x", None]), "label 2 is null"),
        ((["a", "b"], ["x", "x"]), "only one class"),
        (("one text", ["x"]), "give a list of texts"),
        ((texts,), "labels are missing"),
        (([], []), "no examples"),
    ):
        with pytest.raises(DataError, match=message):
            clear.fit(*given)
    with pytest.raises(TypeError, match="temperature"):
        PromptClassifier(temperature=3)


def test_parameters_are_the_options() -> None:
    shown = inspect.signature(PromptClassifier).parameters
    assert {"model", "engine", "budget", "run", "callbacks"} <= shown.keys()
    assert shown["sigma"].default == TuneOptions().sigma
    assert "data" not in shown
    assert "data" in inspect.signature(PromptTuner).parameters


def test_the_docs_page_is_that_of_the_code() -> None:
    kept, command = (ROOT / "docs" / "classes.md").read_text(), "python -m secfwt.runtime.interface.reference"
    assert kept == page(), f"docs/classes.md: renew it with {command} > docs/classes.md"


def test_every_public_name_is_on_the_docs_page() -> None:
    headings = {line.strip("# `") for line in page().splitlines() if line.startswith("## ")}
    assert set(secfwt.__all__) <= headings


def test_scikit_learn(clear: PromptClassifier, toy: tuple[Path, list[str], list[str]]) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils import estimator_checks

    _, texts, labels = toy
    assert is_classifier(clear)
    copy = clone(clear)
    assert copy is not clear
    assert copy.get_params() == clear.get_params()
    assert len(cross_val_score(clear, texts, labels, cv=2, error_score="raise")) == 2
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    piped = make_pipeline(lower, clear).fit(texts, labels)
    assert set(piped.predict(["A GOOD FILM"])) <= {"good", "bad"}
    for check in (
        "check_no_attributes_set_in_init", "check_parameters_default_constructible", "check_get_params_invariance",
        "check_set_params", "check_estimator_cloneable", "check_estimator_repr",
    ):  # fmt: skip
        getattr(estimator_checks, check)("PromptClassifier", PromptClassifier())


def test_columns_of_pandas(clear: PromptClassifier, toy: tuple[Path, list[str], list[str]]) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    _, texts, labels = toy
    frame = pandas.DataFrame({"text": texts, "label": labels}).sample(frac=1, random_state=0)
    clear.fit(frame["text"], frame["label"])
    assert clear.predict(frame["text"]).shape == (24,)


def test_a_dataset(clear: PromptClassifier, toy: tuple[Path, list[str], list[str]]) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    _, texts, labels = toy
    data = datasets.Dataset.from_dict({"id": list(range(len(texts))), "text": texts, "label": labels})
    assert clear.fit(data).score(data) == clear.score(texts, labels)


def test_without_scikit_learn(toy: tuple[Path, list[str], list[str]]) -> None:
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "from secfwt import PromptClassifier\n"
        "c = PromptClassifier(budget=4).set_params(popsize=4)\n"
        "assert c.get_params()['popsize'] == 4\n"
        "try: c.set_params(size=3)\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "there is no parameter 'size'" in done.stdout


def test_the_package_imports_nothing_until_asked() -> None:
    code = "import secfwt, sys; print(sorted(secfwt.__dir__())); print('numpy' in sys.modules, hasattr(secfwt, 'x'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == "['Deployment', 'PromptClassifier', 'PromptTuner', 'TensorBoard', 'TextGenerator']\nFalse False\n"
    )


def test_a_tuner_on_files(toy: tuple[Path, list[str], list[str]], tmp_path: Path) -> None:
    model, _, _ = toy
    told: list[int] = []
    tuner = PromptTuner(
        model=model, engine="clear", data=model.parent / "films.jsonl", k_shot=4, verbose=False,
        callbacks=[lambda line: told.append(line["generation"])], **SMALL,
    )  # fmt: skip
    classifier = tuner.tune(tmp_path / "run")
    assert classifier.result_["test_examples"] == 8  # of 24, four of each class are train and four dev
    assert classifier.predict(NEW).shape == (2,)
    assert tuner.resume(tmp_path / "run", budget=16).result_["generations"] == 4
    assert told == [1, 2, 3, 4]


def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    from tensorboardX.proto.event_pb2 import Event

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # it would want another package
    line = {"generation": 2, "losses": [1.0, None, 3.0], "sigma": 0.5, "best_train": 0.9, "best_dev": 0.8}
    with TensorBoard(str(tmp_path)) as board:
        board({**line, "cost": {"seconds": 2.0}})
    (file,) = tmp_path.iterdir()
    content, at, written = file.read_bytes(), 0, {}
    while at < len(content):  # records: length, its checksum, the event, its checksum
        length = int.from_bytes(content[at : at + 8], "little")
        event = Event.FromString(content[at + 12 : at + 12 + length])
        written |= {value.tag: (value.simple_value, event.step) for value in event.summary.value}
        at += length + 16
    expected = {
        "loss/best": 0.9, "dev/best": 0.8, "search/sigma": 0.5, "loss/mean": 2.0, "loss/lowest": 1.0,
        "cost/seconds": 2.0,
    }  # fmt: skip
    assert written == {name: (pytest.approx(value), 2) for name, value in expected.items()}


def test_a_deployment_object(toy: tuple[Path, list[str], list[str]], tmp_path: Path) -> None:
    from secfwt import Deployment
    from secfwt.runtime.errors import SecfwtError

    parties = [{"host": "127.0.0.1", "port": port} for port in (1, 2, 3)]
    deployment = Deployment(parties=parties, certificates=tmp_path / "none", pins={"party0": "a" * 64}, threads=2)
    deployment.save(tmp_path / "d.toml")
    assert Deployment.load(tmp_path / "d.toml") == deployment
    _, texts, labels = toy
    remote = PromptClassifier(deployment=deployment, bundle=tmp_path / "bundle", run=tmp_path / "run")
    with pytest.raises(SecfwtError, match="bundle"):
        remote.fit(texts, labels)
    assert Deployment.load(tmp_path / "run" / "deployment.toml") == deployment
    with pytest.raises(SecfwtError, match="bundle"):
        PromptTuner(deployment=deployment, bundle=tmp_path / "bundle", data=toy[0].parent / "films.jsonl").tune(
            tmp_path / "files"
        )
    assert (tmp_path / "files" / "deployment.toml").exists()
