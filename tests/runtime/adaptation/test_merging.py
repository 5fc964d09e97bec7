"""Merged heads: scores added before softmax, and a model with fewer heads that is read as any other."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_encoder import write_model, write_texts
from safetensors.numpy import load_file, save_file
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.prepare import prepare_weights
from secfwt.codegen.plan.build import build_encoder
from secfwt.codegen.plan.oracle import run_plan
from secfwt.runtime.adaptation.options import ConvertOptions
from secfwt.runtime.commands.convert import main

torch = pytest.importorskip("torch")
from secfwt.runtime.adaptation.features import Recipe, initial_features  # noqa: E402
from secfwt.runtime.adaptation.student import attend  # noqa: E402
from secfwt.runtime.conversion.session import Material, read_material  # noqa: E402

HEADS, DIM = 4, 4
TEXTS = ["the red boat runs", "a star shines over the small blue tree"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy encoder, with four heads."""
    model = write_model(tmp_path_factory.mktemp("model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"num_attention_heads": HEADS}))
    return model


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.txt")


def material_of(model: Path, texts: Path, folder: Path, merged: int) -> Material:
    return read_material(
        ConvertOptions(str(model), str(folder / "out"), (str(texts),), output="model", merge_heads=merged)
    )


def arguments(model: Path, texts: Path, folder: Path, *more: str) -> list[str]:
    places = ["--out", str(folder / "merged"), "--run", str(folder / "run"), "--output", "model"]
    return [str(model), "--text", str(texts), *places, "--rank", "2", *more]


def steps(layer: int, whole: int, fitted: int) -> list[str]:
    return ["--layer-steps", str(layer), "--steps", str(whole), "--fitted-steps", str(fitted)]


def added_scores(x: np.ndarray, tensors: Mapping[str, np.ndarray], merged: int) -> np.ndarray:
    """Layer 0's attention of one text `[T, h]`, as the paper defines it: a head at a time."""

    def project(name: str) -> np.ndarray:
        name = f"layers.0.{name}"
        return (x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]).reshape(len(x), HEADS, DIM)

    q, k, v = (project(name) for name in "qkv")
    outputs = []
    for head in range(HEADS):
        group = range(head // merged * merged, head // merged * merged + merged)
        scores = sum(q[:, each] @ k[:, each].T for each in group) / math.sqrt(DIM)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        outputs.append(weights / weights.sum(1, keepdims=True) @ v[:, head])
    return np.concatenate(outputs, 1)


@pytest.mark.parametrize("merged", [2, 4])
def test_the_start_is_the_sum_of_scores(model: Path, texts: Path, tmp_path: Path, merged: int) -> None:
    material = material_of(model, texts, tmp_path, merged)
    corpus = material.corpus(material.held_out[:1])
    start = {**material.teacher, **initial_features(corpus, material.shape, Recipe())}
    (x, rows) = next(corpus.all())
    got, _ = attend(x, rows, start, 0, material.shape)
    original = {name: tensor.numpy().astype(np.float64) for name, tensor in material.teacher.items()}
    np.testing.assert_allclose(got.numpy(), added_scores(x.numpy().astype(np.float64), original, merged), atol=1e-5)


def test_distillation_brings_it_nearer(model: Path, texts: Path, tmp_path: Path) -> None:
    main(arguments(model, texts, tmp_path, "--merge-heads", "2", *steps(30, 30, 5)))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for stage in ("layers", "whole"):
        losses = [line["loss"] for line in log if line["stage"] == stage]
        assert np.mean(losses[-5:]) < np.mean(losses[:5])
    report = json.loads((tmp_path / "run" / "fidelity.json").read_text())
    assert report["after"]["cosine_mean"] > report["before"]["cosine_mean"]
    for before, after in zip(report["before"]["layers"], report["after"]["layers"], strict=True):
        assert after["attention_error"] < before["attention_error"]


def test_what_is_written_is_a_model_with_fewer_heads(model: Path, texts: Path, tmp_path: Path) -> None:
    """As transformers, the plan in float64 and training see it; and it is converted again as any other."""
    transformers = pytest.importorskip("transformers")
    main(arguments(model, texts, tmp_path, "--merge-heads", "2", *steps(5, 5, 2)))
    merged = tmp_path / "merged"
    config = json.loads((merged / "config.json").read_text())
    assert (config["num_attention_heads"], config["merged_heads"]["per_head"]) == (2, 2)
    options = GenOptions(
        sequence_length=12, n_prompt_tokens=0, attention="softmax", label_texts=("red boat", "blue star")
    )
    spec = read_model(merged, options)
    assert (spec.num_attention_heads, spec.head_dim) == (2, 8)
    weights, embedder = prepare_weights(merged, spec, options)
    inputs, _ = embedder.encode(TEXTS)
    ours = run_plan(build_encoder(spec, options), weights, inputs)["pooled"][0]
    encoder = transformers.AutoModel.from_pretrained(merged).eval()
    tokens = embedder.tokenizer.encode_batch(TEXTS)
    for text, expected in zip(tokens, ours, strict=True):
        with torch.no_grad():
            theirs = encoder(torch.tensor([text.ids]))[0][0].mean(0).numpy()
        np.testing.assert_allclose(theirs / np.linalg.norm(theirs), expected / np.linalg.norm(expected), atol=1e-5)
    again = ["--out", str(tmp_path / "adapter"), "--run", str(tmp_path / "again"), "--features", "8"]
    main([str(merged), "--text", str(texts), *again, *steps(2, 2, 1)])
    assert (tmp_path / "adapter" / "adapter.json").is_file()
    main([str(model), "--text", str(texts), "--out", str(merged), "--output", "model", "--run", str(tmp_path / "third"),
          "--merge-heads", "4", *steps(1, 1, 0)])  # fmt: skip
    assert json.loads((merged / "config.json").read_text())["num_attention_heads"] == 1


def test_the_original_s_names_and_precision_are_kept(model: Path, texts: Path, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    half = write_model(tmp_path / "half")
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps(config | {"num_attention_heads": HEADS}))
    stored = load_file(half / "model.safetensors")
    halves = {f"bert.{name}": value.astype(np.float16) for name, value in stored.items()}
    save_file(halves, half / "model.safetensors")
    main(arguments(half, texts, tmp_path, "--merge-heads", "2", *steps(1, 1, 0)))
    written = load_file(tmp_path / "merged" / "model.safetensors")
    assert {name: value.dtype for name, value in written.items()} == {
        name: value.dtype for name, value in halves.items()
    }
    changed = {name for name, value in written.items() if not np.array_equal(value, halves[name])}
    assert "bert.encoder.layer.1.attention.self.query.weight" in changed
    assert not any("embeddings" in name for name in changed)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--merge-heads", "3"), "--merge-heads is 3, the model has 4 heads: accepted: 1, 2, 4"),
        (("--merge-heads", "2", "--output", "adapter"), "--output is adapter: fewer heads are another model"),
        (("--merge-heads", "2", "--rfa", "relu2"), "--rfa is relu2, --merge-heads is 2: merged heads keep softmax"),
        (("--merge-heads", "2", "--features", "8"), "--features is 8, --merge-heads is 2: merged heads keep softmax"),
        (("--merge-heads", "2", "--harmonics", "3"), "--harmonics is 3, --merge-heads is 2: a model directory has no"),
        (("--merge-heads", "0"), "--merge-heads"),
    ],
)
def test_what_cannot_be_is_refused(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*arguments(model, texts, tmp_path), *more])
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "merged").exists()
