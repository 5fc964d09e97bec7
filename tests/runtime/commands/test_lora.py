"""A private adapter of a public base: the bundle shows neither factor, and a run knows its adapter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import run
from helpers.toy_lora import save_lora
from helpers.toys import save_sentence_transformer
from helpers.tune_runs import tune, write_data
from safetensors.numpy import load_file
from secfwt.codegen.cli import main as gen_main
from secfwt.runtime.commands.predict import main as predict_main

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft
TOP = {"target_modules": ["query", "value"], "layers_to_transform": [1]}
SMALL = ["--k-shot", 2, "--popsize", 4, "--intrinsic-dim", 6, "--attention", "softmax", "--sequence-length", 12]
SMALL += ["--n-prompt-tokens", 2, "--eval-every", 1, "--prompt-layer", 1, "--engine", "clear"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_lora(tmp_path / "lora", save_sentence_transformer(tmp_path / "model", "bert"), **TOP)
    return tmp_path / "model"


def test_a_bundle_keeps_the_adapter_with_the_model_owner(model: Path, tmp_path: Path) -> None:
    given = [model, "--label-texts", "good film|bad film", "--sequence-length", 8, "--prompt-layer", 1]
    given += ["--attention", "softmax", "--target", "embedded"]
    assert run(gen_main, *given, "--lora", tmp_path / "lora", "-o", tmp_path / "adapted").exit_code == 0
    assert run(gen_main, *given, "--frozen-layers", 1, "-o", tmp_path / "plain").exit_code == 0
    options = json.loads((tmp_path / "adapted" / "public" / "plan.json").read_text())["options"]
    assert (options["weights"], options["frozen_layers"]) == ("base", 1)
    assert options["private_tensors"] == ["layers.1.q.weight", "layers.1.v.weight"]
    for name in ("frozen", "embeddings"):  # the data owner's are the base's, bit for bit
        adapted, plain = (load_file(tmp_path / b / "data_owner" / f"{name}.safetensors") for b in ("adapted", "plain"))
        assert adapted.keys() == plain.keys()
        assert all(np.array_equal(adapted[key], plain[key]) for key in plain)
    adapted, plain = (load_file(tmp_path / b / "model_owner" / "weights.safetensors") for b in ("adapted", "plain"))
    assert adapted.keys() < plain.keys()  # what is public is in a file of the parties'
    assert (adapted["layers.1.q.weight"] != plain["layers.1.q.weight"]).any()
    public = {path.name for path in (tmp_path / "adapted" / "public").iterdir()}
    assert public == {"plan.json", "program.txt", "program.weights"}
    assert not (tmp_path / "plain" / "public" / "program.weights").exists()


def test_a_run_knows_its_adapter(model: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    given = ["--model", model, "--lora", tmp_path / "lora", "--data", tmp_path / "films.jsonl", *SMALL]
    first = tune(*given, "--budget", 4, "--run", tmp_path / "run")
    assert first.exit_code == 0, first.output
    assert "public but for 2 tensors that a LoRA adapter changes" in first.output
    assert run(predict_main, "--run", tmp_path / "run", "--text", "good film").exit_code == 0
    assert "what its LoRA adapter changes" not in (tmp_path / "run" / "report.html").read_text()  # nothing is private
    tensors = tmp_path / "lora" / "adapter_model.safetensors"
    before = tensors.read_bytes()
    tensors.write_bytes(before[:-4] + np.float32(0.5).tobytes())
    again = tune("--resume", tmp_path / "run", "--budget", 8)
    assert again.exit_code == 2
    assert "weights" in again.output
    tensors.write_bytes(before)
    assert tune("--resume", tmp_path / "run", "--budget", 8).exit_code == 0


def test_random_features_of_an_adapter_and_a_lora_are_refused_together(model: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    ended = tune("--lora", tmp_path / "lora", "--data", tmp_path / "films.jsonl", "--engine", "clear", "--budget", 8)
    assert ended.exit_code == 2
    assert "--lora is given, the model has random features of its own" in ended.output
