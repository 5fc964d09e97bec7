"""`secfwt-convert` end to end on a tiny encoder."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.places import ROOT
from helpers.toy_encoder import write_model, write_texts
from safetensors.numpy import load_file
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.compile import compile_model
from secfwt.codegen.model.adapter import read_adapter
from secfwt.codegen.model.options import GenOptions
from secfwt.runtime.commands.convert import main

torch = pytest.importorskip("torch")
from secfwt.runtime.adaptation import feature_counts  # noqa: E402
from secfwt.runtime.adaptation.training import Progress  # noqa: E402
from secfwt.runtime.conversion.display import ConversionDisplay  # noqa: E402

SHIPPED = ROOT / "examples/minilm-rfa"
SHORT = ["--features", "8", "--rank", "2", "--layer-steps", "20", "--steps", "20", "--fitted-steps", "6", "--seed", "3"]
SITES = ("gelu", "attention_var", "output_var", "den", "value", "attention_out", "numerator", "hidden")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.txt")


@pytest.fixture(scope="module")
def folder(model: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conversion: `adapter` and its run folder `run`."""
    folder = tmp_path_factory.mktemp("conversion")
    run(model, texts, folder)
    return folder


def arguments(model: Path, texts: Path, folder: Path, *more: str) -> list[str]:
    where = ["--out", str(folder / "adapter"), "--run", str(folder / "run")]
    return [str(model), "--text", str(texts), *where, *SHORT, *more]


def run(model: Path, texts: Path, folder: Path, *more: str) -> None:
    main(arguments(model, texts, folder, *more))


def described(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "adapter" / "adapter.json").read_text())
    return content


def same_tensors(one: Path, other: Path) -> bool:
    first, again = (load_file(folder / "adapter" / "adapter.safetensors") for folder in (one, other))
    return first.keys() == again.keys() and all(np.array_equal(first[name], again[name]) for name in first)


def test_same_seed_reproduces_the_adapter(model: Path, texts: Path, folder: Path, tmp_path: Path) -> None:
    run(model, texts, tmp_path)
    assert same_tensors(folder, tmp_path)
    assert described(folder) == described(tmp_path)


def test_training_improves_fidelity(folder: Path) -> None:
    report = json.loads((folder / "run" / "fidelity.json").read_text())
    assert report["after"]["cosine_mean"] > report["before"]["cosine_mean"]
    for before, after in zip(report["before"]["layers"], report["after"]["layers"], strict=True):
        assert after["attention_error"] < before["attention_error"]


def test_the_adapter_says_what_it_is_for(folder: Path) -> None:
    content = described(folder)
    assert (content["features"], content["variant"], content["rank"], content["steps"]) == (8, "folded", 2, [20, 20, 6])
    for layer in range(2):
        for site in SITES:
            seen = content["calibration"][f"layers.{layer}.{site}"]
            assert seen["min"] <= seen["q0.0001"] <= seen["q0.9999"] <= seen["max"]


def test_the_run_folder_holds_log_reports_and_figures(folder: Path) -> None:
    log = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in log] == ["layers"] * 20 + ["whole"] * 20 + ["fitted"] * 6
    assert all(np.isfinite(line["loss"]) for line in log)
    table = (folder / "run" / "fidelity.md").read_text()
    assert "| cosine to the original's embedding, mean |" in table
    assert "leave the interval" in table
    for figure in ("loss.png", "fidelity.png"):
        assert (folder / "run" / figure).read_bytes().startswith(b"\x89PNG")


def test_a_killed_conversion_resumes_to_the_same_result(model: Path, texts: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "secfwt.runtime.commands.convert", *arguments(model, texts, tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_text().count('"whole"') > 5):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "adapter").exists()
    main(["--resume", str(tmp_path / "run")])
    assert same_tensors(folder, tmp_path)
    assert (tmp_path / "run" / "log.jsonl").read_text().count("\n") == 46


def test_a_training_stopped_between_two_steps_goes_on_as_if_it_had_not(
    model: Path, texts: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secfwt.runtime.adaptation.training.CHECKPOINT_SECONDS", 0.0)
    for step in (30, 43):  # within stages 2 and 3
        monkeypatch.setattr(ConversionDisplay, "update", stopping_after(step))
        with pytest.raises(SystemExit) as exit_:
            main(["--resume", str(tmp_path / "run")] if step > 30 else arguments(model, texts, tmp_path))
        assert exit_.value.code == 130
    monkeypatch.undo()
    main(["--resume", str(tmp_path / "run")])
    assert same_tensors(folder, tmp_path)


def stopping_after(step: int) -> Callable[[ConversionDisplay, Progress], None]:
    """Stands in for the display; interrupts the conversion at that step of all."""

    def update(_: ConversionDisplay, progress: Progress) -> None:
        if {"layers": 0, "whole": 20, "fitted": 40}[progress.stage] + progress.step >= step:
            raise KeyboardInterrupt

    return update


def test_another_text_does_not_resume(
    model: Path, texts: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    options = json.loads((tmp_path / "run" / "options.json").read_text())
    options["options"]["text"] = [f"{texts}:150"]
    (tmp_path / "run" / "options.json").write_text(json.dumps(options))
    fails(capsys, ["--resume", str(tmp_path / "run")], 2, "model or texts changed")


def test_a_whole_model_needs_no_adapter(model: Path, texts: Path, folder: Path, tmp_path: Path) -> None:
    run(model, texts, tmp_path, "--output", "model")
    options = GenOptions(sequence_length=12, n_prompt_tokens=2, label_texts=("boat", "star"))
    beside = compile_model(model, options, folder / "adapter")
    within = compile_model(tmp_path / "adapter", options)
    assert within.text == beside.text
    assert within.weights is not None
    assert beside.weights is not None
    assert all(np.array_equal(within.weights[name], value) for name, value in beside.weights.items())
    with pytest.raises(ProblemsFound, match=r"--adapter is given, but .* is converted already"):
        compile_model(tmp_path / "adapter", options, folder / "adapter")


def test_a_converted_model_is_refused(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted = tmp_path / "converted"
    shutil.copytree(model, converted)
    config = json.loads((converted / "config.json").read_text()) | {"rfa": {"features": 8, "floor": 0.1}}
    (converted / "config.json").write_text(json.dumps(config))
    fails(capsys, arguments(converted, texts, tmp_path), 2, "is converted already: give the original")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "more",
    [
        ["--rfa", "paper"],
        ["--feature-kind", "random"],
        ["--features", "4,9"],
        ["--rfa", "relu2"],
        ["--rfa", "paper", "--rank", "0"],
    ],
    ids=" ".join,
)
def test_every_kind_of_features_makes_a_program(model: Path, texts: Path, tmp_path: Path, more: list[str]) -> None:
    run(model, texts, tmp_path, *more)
    options = GenOptions(sequence_length=12, n_prompt_tokens=2, label_texts=("boat", "star"))
    compiled = compile_model(model, options, tmp_path / "adapter")
    given = read_adapter(tmp_path / "adapter")
    assert compiled.options.rfa_variant == given.description.variant
    assert [compiled.options.features_of(i) for i in range(2)] == list(given.features * 2)[:2]


@pytest.mark.parametrize(("activation", "harmonics"), [("gelu", 2), ("relu", 4)])
def test_cheaper_activations_reach_the_program(
    model: Path, texts: Path, tmp_path: Path, activation: str, harmonics: int
) -> None:
    run(model, texts, tmp_path, "--activation", activation, "--harmonics", str(harmonics))
    options = GenOptions(sequence_length=12, n_prompt_tokens=2, label_texts=("boat", "star"))
    compiled = compile_model(model, options, tmp_path / "adapter")
    layers = [value for value in compiled.plan if value.kind == "encoder_layer"]
    assert [value.attrs["act"] for value in layers] == [activation] * 2
    bends = [fit for fit in compiled.ring.fits if fit.format.phase_bits <= 16]
    assert bends
    assert all(len(fit.m) == harmonics for fit in bends)


def test_a_processor_without_bfloat16_trains_in_float32(
    model: Path, texts: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secfwt.runtime.adaptation.training.has_bfloat16", lambda _: False)
    run(model, texts, tmp_path)
    mine, other = (described(where)["fidelity"]["cosine_mean"] for where in (tmp_path, folder))
    assert mine == pytest.approx(other, abs=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, arguments(model, texts, tmp_path, "--device", "cuda"), 2, "--device is cuda: this PyTorch sees no")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_cuda_device_trains_to_a_like_result(model: Path, texts: Path, folder: Path, tmp_path: Path) -> None:
    run(model, texts, tmp_path, "--device", "cuda")
    mine, other = (described(where)["fidelity"]["cosine_mean"] for where in (tmp_path, folder))
    assert mine == pytest.approx(other, abs=0.05)


def test_counts_of_features_are_chosen_by_error(
    model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = {16: (0.3, 0.9), 24: (0.2, 0.8), 32: (0.1, 0.7), 48: (0.1, 0.6), 64: (0.1, 0.5)}
    monkeypatch.setattr(feature_counts, "layer_errors", lambda _, __, shape: errors[shape.features[0]])
    run(model, texts, tmp_path, "--features", "auto", "--feature-error", "0.2", "--layer-steps", "1", "--steps", "1")
    assert described(tmp_path)["features"] == [24, 64], "the fewest that reach it, else the most"
    said = capsys.readouterr().out
    assert "48 features: error 0.10, 0.60" in said
    assert "layers 1: no count reaches --feature-error 0.2, 64 are taken" in said


def fails(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str) -> None:
    """Run and expect this exit code and one error, which holds the message."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    said = capsys.readouterr().err
    assert exit_.value.code == code, said
    assert message in said
    assert said.count("error:") == 1
    assert said.startswith("error: ")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--text", "nowhere.txt"], "--text nowhere.txt: no such file"),
        (["--features", "0"], "--features is 0: accepted: one count, 2 of them"),
        (["--features", "8,8,8"], "--features is 8,8,8: accepted"),
        (["--rank", "-1"], "--rank is -1\n  It must be at least 0."),
        (["--splice", "2"], "--splice is 2.0\n  It must be from 0 to 1."),
        (["--exchange", "-1"], "--exchange is -1.0\n  It must be from 0 to 1."),
        (["--floor", "0"], "--floor is 0.0\n  It must be positive."),
    ],
)
def test_unusable_options_end_with_one_message(
    model: Path, texts: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, arguments(model, texts, tmp_path, *more), 2, message)
    assert not any(tmp_path.iterdir()), "nothing is written"


def test_too_little_text_is_counted(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = arguments(model, Path(f"{texts}:40"), tmp_path)
    fails(capsys, few, 2, "38 texts to train on; at least 64 are needed")
    fails(capsys, [str(model), "--out", str(tmp_path / "x")], 2, "--text is missing")


def test_an_output_that_is_something_else_is_refused(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "thesis.tex").touch()
    fails(capsys, arguments(model, texts, tmp_path), 2, "exists and is no conversion")


def test_a_directory_without_a_model_is_named(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments(tmp_path / "nothing", texts, tmp_path))
    assert exit_.value.code == 2
    assert "config.json" in capsys.readouterr().err


def test_a_full_disk_ends_with_the_way_to_go_on(model: Path, texts: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "secfwt.runtime.commands.convert", *arguments(model, texts, tmp_path)]
    ended = subprocess.run(
        command, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    assert "error: cannot write" in ended.stderr
    assert f"File too large\ncontinue with: secfwt-convert --resume {tmp_path / 'run'}" in ended.stderr
    assert not (tmp_path / "adapter").exists()
    main(["--resume", str(tmp_path / "run")])
    assert same_tensors(folder, tmp_path)


def test_an_output_that_cannot_be_written_leaves_nothing_behind(
    model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "adapter"))

    monkeypatch.setattr("secfwt.runtime.conversion.output.save_file", full)
    fails(
        capsys, arguments(model, texts, tmp_path), 3, "No space left on device\ncontinue with: secfwt-convert --resume"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_run_folder_is_not_used_twice(
    model: Path, texts: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, arguments(model, texts, folder), 2, "holds a conversion: give another folder, or --resume")
    fails(capsys, ["--resume", str(folder / "run"), "--rank", "2"], 2, "--rank is given with --resume")
    fails(capsys, ["--resume", str(folder / "none")], 2, "no conversion there")


def test_shipped_adapter_is_complete() -> None:
    adapter = read_adapter(SHIPPED)
    counts = adapter.features if len(adapter.features) > 1 else adapter.features * 6
    for layer, count in enumerate(counts):
        for side in ("phase_query", "phase_key"):
            assert adapter.tensors[f"layers.{layer}.{side}.weight"].shape == (12 * count, 384)
    assert (SHIPPED / "adapter.safetensors").stat().st_size <= 5_000_000
