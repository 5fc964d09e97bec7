"""Checkpoints: number formats, old names, and one report of all that does not fit; adapters likewise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import save_toy
from safetensors.torch import load_file, save_file
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.adapter import apply_adapter, read_adapter, stored_sites
from secfwt.codegen.model.checkpoint import load_checkpoint
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import ModelSpec
from secfwt.codegen.model.tensors import TensorFile
from secfwt.codegen.model.weights import checkpoint_shapes, derived_shapes
from secfwt.codegen.owners.prepare import prepare_weights
from secfwt.codegen.plan.build import build_plan

OPTIONS = GenOptions(rfa_features=6)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save_toy(tmp_path, "bert", "classification")
    return tmp_path


@pytest.fixture
def spec(directory: Path) -> ModelSpec:
    return read_model(directory, OPTIONS)


def rewrite(directory: Path, change: Any) -> None:
    tensors = change(load_file(directory / "model.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, directory / "model.safetensors")


def report_of(directory: Path, spec: ModelSpec) -> str:
    with pytest.raises(ProblemsFound) as found:
        load_checkpoint(directory, spec)
    return str(found.value)


def test_shapes_are_those_the_tables_say(directory: Path, spec: ModelSpec) -> None:
    weights, _ = prepare_weights(directory, spec, OPTIONS)
    expected = checkpoint_shapes(spec) | derived_shapes(spec, OPTIONS)
    assert {name: value.shape for name, value in weights.items()} == expected
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}
    assert {name for v in build_plan(spec, OPTIONS) for name in v.weights.values()} <= expected.keys()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_number_formats(dtype: torch.dtype, directory: Path, spec: ModelSpec) -> None:
    exact = load_checkpoint(directory, spec)
    rewrite(directory, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    rounded = load_checkpoint(directory, spec)
    for name, value in exact.items():
        np.testing.assert_array_equal(rounded[name], torch.tensor(value).to(dtype).float().numpy())


def test_old_names_and_a_missing_prefix(directory: Path, spec: ModelSpec) -> None:
    expected = load_checkpoint(directory, spec)

    def old(tensors: dict[str, Any]) -> dict[str, Any]:
        renamed = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
        names = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
        for new, former in names:
            renamed = {name.replace(new, former): tensor for name, tensor in renamed.items()}
        unused = {"embeddings.position_ids": torch.arange(40)[None], "cls.predictions.bias": torch.zeros(3)}
        return renamed | unused

    rewrite(directory, old)
    found = load_checkpoint(directory, spec)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_all_problems_come_in_one_report(directory: Path, spec: ModelSpec) -> None:
    def damage(tensors: dict[str, Any]) -> dict[str, Any]:
        del tensors["bert.pooler.dense.bias"]
        tensors["classifier.bias"] = torch.zeros(7)
        tensors["bert.encoder.layer.0.output.dense.bias"][3] = torch.nan
        tensors["bert.encoder.layer.1.output.dense.bias"] = torch.zeros(32, dtype=torch.int32)
        tensors["bert.encoder.layer.2.output.dense.bias"] = torch.zeros(32)
        return tensors

    rewrite(directory, damage)
    report = report_of(directory, spec)
    for part in (
        "missing tensor head.dense.bias", "Expected shape [32].", "classifier.bias has shape [7]", "Expected [2].",
        "encoder.layer.0.output.dense.bias holds NaN", "has the type I32",
        "unexpected tensor encoder.layer.2.output.dense.bias",
    ):  # fmt: skip
        assert part in report


def test_files_that_are_not_there_or_cut_short(directory: Path, spec: ModelSpec) -> None:
    path = directory / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "incomplete download" in report_of(directory, spec)
    path.write_bytes(b"not a checkpoint")
    assert "is not a safetensors file" in report_of(directory, spec)
    path.unlink()
    assert "there is no model.safetensors" in report_of(directory, spec)
    (directory / "pytorch_model.bin").touch()
    assert "save_pretrained" in report_of(directory, spec)


def test_a_shard_that_is_missing(tmp_path: Path) -> None:
    save_toy(tmp_path, "bert", "classification", shard="20kB")
    spec = read_model(tmp_path, OPTIONS)
    next(tmp_path.glob("model-00002*")).unlink()
    assert "there is no model-00002" in report_of(tmp_path, spec)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd"])
def test_a_shard_outside_the_directory(shard: str, tmp_path: Path) -> None:
    save_toy(tmp_path, "bert", "classification", shard="20kB")
    spec = read_model(tmp_path, OPTIONS)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": shard}}))
    assert f"model.safetensors.index.json names files elsewhere: {shard}" in report_of(tmp_path, spec)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model.", "0.auto_model.", "_orig_mod.module.model."])
@pytest.mark.parametrize("base", ["", "bert."])
def test_what_wraps_a_model_is_taken_away_and_said(
    wrapper: str, base: str, directory: Path, spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load_checkpoint(directory, spec)

    def wrapped(tensors: dict[str, Any]) -> dict[str, Any]:
        inside = {
            name.replace("bert.", base, 1) if name.startswith("bert.") else name: t for name, t in tensors.items()
        }
        return {wrapper + name: tensor for name, tensor in inside.items()}

    assert not caplog.text
    rewrite(directory, wrapped)
    found = load_checkpoint(directory, spec)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert "names of tensors are read without" in caplog.text


def test_wrappers_inside_names_and_heads_beside_a_wrapped_model(directory: Path, spec: ModelSpec) -> None:
    expected = load_checkpoint(directory, spec)

    def wrapped(tensors: dict[str, Any]) -> dict[str, Any]:
        inner = {name.replace("bert.", "backbone.", 1): tensor for name, tensor in tensors.items()}
        return {name.replace(".layer.1.", ".layer.1._checkpoint_wrapped_module."): t for name, t in inner.items()}

    rewrite(directory, wrapped)
    found = load_checkpoint(directory, spec)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_two_models_in_one_checkpoint(directory: Path, spec: ModelSpec) -> None:
    rewrite(directory, lambda tensors: tensors | {f"passage.{name}": t.clone() for name, t in tensors.items()})
    assert "the checkpoint holds 2 models: 'bert.', 'passage.bert.'" in report_of(directory, spec)


def test_a_tensor_under_two_names(directory: Path, spec: ModelSpec) -> None:
    name = "pooler.dense.bias"
    rewrite(directory, lambda tensors: tensors | {name: tensors[f"bert.{name}"].clone()})
    assert f"there twice, under several names: bert.{name}, {name}" in report_of(directory, spec)


def test_one_file_counts_before_an_index_that_is_left_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_toy(tmp_path, "bert", "classification", shard="20kB")
    spec = read_model(tmp_path, OPTIONS)
    whole = {name: tensor + 1 for path in tmp_path.glob("model-*") for name, tensor in load_file(path).items()}
    save_file(whole, tmp_path / "model.safetensors")
    words = whole["bert.embeddings.word_embeddings.weight"].numpy()
    for _ in range(2):
        np.testing.assert_array_equal(load_checkpoint(tmp_path, spec)["embeddings.word"], words)
        for shard in tmp_path.glob("model-*"):
            shard.unlink()
    assert "model.safetensors is read, model.safetensors.index.json and its shards are not" in caplog.text


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_lfs_pointers_are_named(name: str, directory: Path, spec: ModelSpec) -> None:
    (directory / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ProblemsFound, match=f"{name} is a Git LFS pointer"):
        load_checkpoint(directory, read_model(directory, OPTIONS))


def test_every_byte_of_a_file_has_one_reader(directory: Path) -> None:
    ours = TensorFile(directory / "model.safetensors")
    theirs = load_file(directory / "model.safetensors")
    assert set(ours.names()) == set(theirs)
    assert all(np.array_equal(ours.read(name), theirs[name].numpy()) for name in theirs)


def adapter_files(directory: Path, tensors: dict[str, torch.Tensor], **description: Any) -> Path:
    save_file(tensors, directory / "adapter.safetensors")
    (directory / "adapter.json").write_text(json.dumps({"features": 6, "floor": 0.1} | description))
    return directory


def test_an_adapter_replaces_tensors_and_sets_the_attention(directory: Path, spec: ModelSpec) -> None:
    base, _ = prepare_weights(directory, spec, OPTIONS)
    phases = {name: torch.full(value.shape, 0.5) for name, value in base.items() if ".phase_" in name}
    phases["layers.1.v.bias"] = torch.ones(32)
    calibration = {"layers.0.gelu": {"min": -1, "max": 2}}
    halves = {name: tensor.half() for name, tensor in phases.items()}
    adapter = read_adapter(adapter_files(directory, halves, calibration=calibration))
    assert adapter.description.calibration == {"layers.0.activation": {"min": -1, "max": 2}}
    assert stored_sites(adapter.description.calibration) == calibration
    options = adapter.options(GenOptions(attention="softmax", rfa_features=99))
    assert (options.attention, options.rfa_features, options.rfa_floor) == ("rfa", 6, 0.1)
    weights, _ = prepare_weights(directory, spec, options, adapter)
    assert weights.keys() == base.keys()
    for name in base.keys() - {"prompt.p0"}:
        np.testing.assert_array_equal(weights[name], phases.get(name, torch.tensor(base[name])).numpy())


def test_an_adapter_of_another_model_is_refused(directory: Path, spec: ModelSpec) -> None:
    tensors = {
        "layers.0.phase_key.bias": torch.zeros(5),
        "layers.7.v.bias": torch.zeros(32),
        "layers.0.v.bias": torch.full((32,), torch.inf),
    }
    adapter = read_adapter(adapter_files(directory, tensors))
    with pytest.raises(ProblemsFound) as found:
        apply_adapter(load_checkpoint(directory, spec), spec, OPTIONS, adapter)
    for part in (
        "layers.0.phase_key.bias has shape [5]", "Expected [24].", "layers.7.v.bias: the model has no such tensor",
        "layers.0.v.bias holds NaN or infinity", "the adapter lacks layers.1.phase_query.weight",
    ):  # fmt: skip
        assert part in str(found.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("{}", "features"), ("{", "Invalid JSON"), ('{"features": 6, "floor": 0}', "floor")]
)
def test_a_bad_adapter_description(text: str, expected: str, tmp_path: Path) -> None:
    save_file({}, tmp_path / "adapter.safetensors")
    (tmp_path / "adapter.json").write_text(text)
    with pytest.raises(ProblemsFound, match=expected):
        read_adapter(tmp_path)
