"""The accuracy benchmark's engines against the oracles, its data, and its rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.places import ROOT
from helpers.toys import save_sentence_transformer
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import Machine, run_program
from secfwt.runtime.tuning.clear import ClearEngine
from secfwt.runtime.tuning.data import Example
from secfwt.runtime.tuning.model import Model, load_model
from secfwt.runtime.tuning.objective import LabelledSet, PromptSpace
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.session import embed

sys.path.insert(0, str(ROOT / "benchmarks"))
import accuracy
import explore
from accuracy_clear import TorchEngine
from accuracy_fixed import FixedPointEngine, TabledMachine
from accuracy_rows import AccuracyRow, append, figure, read, spread, table
from accuracy_tasks import Task, draw, draw_held_out

TEXTS = ["good film", "a bad film", "it was very very good .", "the news was bad", "sport"]
LABELS = ["good", "bad", "good", "bad", "good"]
OPTIONS = {"sequence_length": 10, "n_prompt_tokens": 2, "prompt_layer": 1, "intrinsic_dim": 6}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_sentence_transformer(path, "bert")
    return path


def model_and_set(directory: Path, **more: Any) -> tuple[Model, LabelledSet, np.ndarray]:
    options = TuneOptions(model=str(directory), **(OPTIONS | more))
    model = load_model(options, ["bad", "good"])
    examples = [Example(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    space = PromptSpace(model.plan, 1.0)
    z = space.coordinates(np.random.default_rng(0).normal(size=(3, space.dim)))
    return model, embed("train", examples, model, options, accuracy.SILENT), z


@pytest.mark.parametrize("attention", ["softmax", "rfa"])
@pytest.mark.parametrize("more", [{}, {"deep": True, "prompt_layer": 0}, {"loss": "hinge"}])
def test_torch_engine_computes_what_the_oracle_does(directory: Path, attention: str, more: dict[str, Any]) -> None:
    model, examples, z = model_and_set(directory, engine="clear", attention=attention, **more)
    assert model.weights is not None
    oracle = ClearEngine(model.plan, {name: np.asarray(w, np.float64) for name, w in model.weights.items()})
    fast = TorchEngine(model, torch.float32)
    for engine in (oracle, fast):
        engine.load_examples("train", examples.batch)
    assert np.abs(fast.losses("train", z) - oracle.losses("train", z)).max() < 1e-4
    assert np.abs(fast.logits("train", z[1]) - oracle.logits("train", z[1])).max() < 1e-4
    half = TorchEngine(model, torch.bfloat16)
    half.load_examples("train", examples.batch)
    assert np.abs(half.losses("train", z) - oracle.losses("train", z)).max() < 0.1


def test_fixed_point_engine_is_the_oracle_bit_by_bit(directory: Path) -> None:
    model, examples, z = model_and_set(directory, engine="embedded")
    assert model.compiled is not None
    engine = FixedPointEngine(model.compiled)
    engine.load_examples("train", examples.batch)
    ring, inputs = model.compiled.ring, {**examples.batch.inputs, "z": z}
    words = {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("example")}
    words["z"] = encode(z, ring.inputs("candidate")[0].scale)
    expected = run_program(ring, engine.weights | words)
    scales = {o.name: ring[o.value].scale for o in ring.outputs}
    assert np.array_equal(engine.losses("train", z), decode(expected["loss"], scales["loss"]).ravel())
    assert np.array_equal(engine.logits("train", z[1]), decode(expected["logits"], scales["logits"])[1])


def test_lookup_tables_hold_the_oracles_values(directory: Path) -> None:
    model, *_ = model_and_set(directory, engine="embedded")
    assert model.compiled is not None
    ring = model.compiled.ring
    looked_up = [v for v in ring if v.kind == "fourier" and ring.fits[v.attrs["fit"]].k <= 16]
    assert looked_up, "no function of few bits: the tables would never be used"
    phases = np.random.default_rng(0).integers(-(2**63), 2**63, (2, 3, 50))
    tabled, plain = TabledMachine(ring.fits, {}), Machine(ring.fits, {})
    for v in looked_up:
        assert np.array_equal(tabled.run(v, phases), plain.run(v, phases))


TASK = Task("films", "films", 4, 5, 10, {"good": "good film", "bad": "bad film"})
SETTINGS = {"k_shot": 2, "n_prompt_tokens": 2, "prompt_layer": 1, "intrinsic_dim": 6, "popsize": 4, "budget": 12}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "films").mkdir()
    for name, count in (("train", 24), ("dev", 8)):
        rows = [f"film number {i} was very {label}\t{label}" for i in range(count // 2) for label in ("good", "bad")]
        (folder / "films" / f"{name}.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return folder


def test_shots_are_of_rows_that_nothing_was_trained_on(data: Path) -> None:
    public = {example.text for example in draw_held_out(TASK, data, 2, 1, 0).train}
    drawn = draw(TASK, data, 2, 1)
    assert [len(part) for part in (drawn.train, drawn.dev, drawn.test)] == [4, 4, 5]
    assert {e.text for e in drawn.train} == public
    for seed in range(5):
        drawn = draw(TASK, data, 2, seed)
        assert not {"film number 0 was very good", "film number 1 was very bad"} & {
            e.text for e in drawn.train + drawn.dev
        }
        held_out = draw_held_out(TASK, data, 2, seed, 100)
        assert not {e.text for e in held_out.test} & {e.text for e in held_out.train + held_out.dev}


@pytest.mark.parametrize("name", accuracy.METHODS)
def test_every_method_makes_a_row(directory: Path, data: Path, name: str) -> None:
    row = accuracy.measure(TASK, name, 1, SETTINGS | {"model": str(directory)}, data)
    assert 0 <= row.accuracy <= 1
    searched = accuracy.METHODS[name].search != "none"
    assert (row.evaluations > 0) == searched
    assert (row.megabytes > 0) == (name == "private, three parties over TLS")
    if searched:
        assert row.best_loss < row.start_loss
        assert row.best_dev <= row.start_dev


def test_private_row_is_the_clear_ones_up_to_fixed_point(directory: Path, data: Path) -> None:
    settings = SETTINGS | {"model": str(directory)}
    names = ("Black-Box Tuning, RFA", "private, fixed-point oracle", "private, three parties over TLS")
    clear, oracle, parties = (accuracy.measure(TASK, name, 1, settings, data) for name in names)
    for private in (oracle, parties):
        assert private.start_loss == pytest.approx(clear.start_loss, abs=0.05)
        assert private.start_dev == pytest.approx(clear.start_dev, abs=0.05)
    assert parties.start_loss == pytest.approx(oracle.start_loss, abs=0.01)


def row(seed: int, share: float, **more: Any) -> AccuracyRow:
    values: dict[str, Any] = {
        "task": "films", "method": "zero-shot", "seed": seed, "settings": "a=1", "adapter": "", "shots": 2,
        "evaluations": 8, "start_loss": 0.5, "best_loss": 0.4, "start_dev": 0.5, "best_dev": 0.4,
        "accuracy": share, "tested": 8, "seconds": 1.0, "megabytes": 0.0, "commit": "c", "command": "d",
    }  # fmt: skip
    return AccuracyRow(**(values | more))


def test_rows_come_back_and_are_tabulated(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert read(path) == []
    rows = [row(1, 0.5), row(2, 0.75), row(1, 0.25, method="other")]
    for each in rows:
        append(path, each)
    assert read(path) == rows
    lines = table(rows, ["zero-shot", "other", "absent"]).splitlines()
    assert lines[2:] == ["| zero-shot | 62.5 ± 17.7 | 2 |", "| other | 25.0 | 1 |"]
    assert spread([]) == "–"
    figure(rows, ["zero-shot", "other"], tmp_path / "figures" / "f.png")
    assert (tmp_path / "figures" / "f.png").stat().st_size > 1000


def test_what_is_measured_is_not_measured_again(
    tmp_path: Path, directory: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accuracy, "TASKS", {"films": TASK})
    monkeypatch.setattr(accuracy, "SETTINGS", SETTINGS | {"model": str(directory)})
    monkeypatch.setattr(accuracy, "FIGURE", tmp_path / "figure.png")
    arguments = ["--data", str(data), "--tasks", "films", "--methods", "0,3", "--out", str(tmp_path / "rows.csv")]
    for seeds in ("1", "1", "1,2"):
        monkeypatch.setattr(sys, "argv", ["accuracy.py", *arguments, "--seeds", seeds])
        accuracy.main()
    assert [(r.method, r.seed) for r in read(tmp_path / "rows.csv")] == [
        ("zero-shot", 1), ("Black-Box Tuning, softmax", 1), ("Black-Box Tuning, softmax", 2),
    ]  # fmt: skip
    assert "| Black-Box Tuning, softmax |" in capsys.readouterr().out


def test_exploration_changes_one_thing() -> None:
    base = explore.settings_of("ag_news", "base")
    for variant, change in explore.VARIANTS.items():
        settings = explore.settings_of("ag_news", variant)
        assert {name for name in settings if settings[name] != base.get(name)} <= change.keys()
    assert explore.settings_of("ag_news", "half the evaluations")["budget"] == base["budget"] / 2


def test_prompt_starts_as_separators(directory: Path) -> None:
    model, *_ = model_and_set(directory, engine="clear", attention="softmax", prompt_layer=0)
    assert model.weights is not None
    tables = {name: model.weights[f"embeddings.{name}"] for name in ("word", "position", "token_type")}
    separator = model.embedder.tokenizer.encode("").ids[-1]
    rows = tables["word"][separator] + tables["position"][1:3] + tables["token_type"][0]
    rows = (rows - rows.mean(-1, keepdims=True)) / rows.std(-1, keepdims=True)
    assert np.allclose(model.weights["prompt.p0"], rows, atol=1e-4)
