"""The converter to random-feature attention, on a tiny encoder; its torch model against the float oracle."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from secfwt.codegen.adapter import read_adapter
from secfwt.codegen.build import build_encoder
from secfwt.codegen.checkpoint import load_checkpoint
from secfwt.codegen.hf import read_model
from secfwt.codegen.options import GenOptions
from secfwt.codegen.oracle_float import run_plan
from secfwt.codegen.prepare import prepare_weights
from secfwt.runtime.convert import ConvertError, main, read_texts

torch = pytest.importorskip("torch")

WORDS = [
    "the", "a", "red", "blue", "small", "boat", "star", "tree",
    "soup", "runs", "shines", "grows", "boils", "over", "under", "near",
]  # fmt: skip
SHIPPED = Path(__file__).parent.parent / "examples/minilm-rfa"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with a vocabulary of twenty words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing

    directory = tmp_path_factory.mktemp("model")
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer.json"))
    hidden, inner = 16, 32
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": hidden, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": inner, "hidden_act": "gelu", "vocab_size": len(vocabulary),
        "max_position_embeddings": 64, "type_vocab_size": 2,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32)

    tensors = {
        f"embeddings.{n}_embeddings.weight": 4 * normal(rows, hidden)
        for n, rows in (("word", len(vocabulary)), ("position", 64), ("token_type", 2))
    }
    shapes = {
        "attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (inner, hidden), "output.dense": (hidden, inner),
    }  # fmt: skip
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        norms += [f"encoder.layer.{i}.{n}" for n in ("attention.output.LayerNorm", "output.LayerNorm")]
        for name, shape in shapes.items():
            tensors[f"encoder.layer.{i}.{name}.weight"] = 2 * normal(*shape)
            tensors[f"encoder.layer.{i}.{name}.bias"] = 0.1 * normal(shape[0])
    for name in norms:
        tensors[f"{name}.weight"] = 1 + 0.1 * normal(hidden)
        tensors[f"{name}.bias"] = 0.1 * normal(hidden)
    save_file(tensors, directory / "model.safetensors")
    return directory


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(" ".join(rng.choice(WORDS, int(rng.integers(3, 12)))) for _ in range(200)))
    return path


@pytest.fixture(scope="module")
def adapter(model: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapter")
    run(model, texts, out, steps=60)
    return out


def run(model: Path, texts: Path, out: Path, steps: int) -> None:
    main([str(model), "--text", str(texts), "--out", str(out), "--features", "8", "--steps", str(steps), "--seed", "3"])


def test_same_seed_reproduces_the_adapter(model: Path, texts: Path, adapter: Path, tmp_path: Path) -> None:
    run(model, texts, tmp_path, steps=60)
    first, again = (load_file(d / "adapter.safetensors") for d in (adapter, tmp_path))
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert (adapter / "adapter.json").read_text() == (tmp_path / "adapter.json").read_text()


def test_training_improves_fidelity(model: Path, texts: Path, adapter: Path, tmp_path: Path) -> None:
    run(model, texts, tmp_path, steps=4)
    early, late = (json.loads((d / "adapter.json").read_text())["fidelity"] for d in (tmp_path, adapter))
    assert late["cosine_mean"] > early["cosine_mean"]


def test_torch_and_the_float_oracle_agree(model: Path, adapter: Path) -> None:
    """The adapted encoder in torch computes what the generated program's plan computes."""
    from secfwt.runtime.student import Rows, Shape, encode

    described = read_adapter(adapter)
    options = described.options(GenOptions(sequence_length=12, n_prompt_tokens=0, label_texts=("boat", "star")))
    spec = read_model(model, options)
    weights, embedder = prepare_weights(model, spec, options, described)
    inputs, _ = embedder.encode(["the red boat runs", "a star shines over the small blue tree"])
    expected = run_plan(build_encoder(spec, options), weights, inputs)["pooled"][0]
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    rows = Rows(torch.from_numpy(inputs["mask"] > 0), torch.full((2,), 12.0))
    x = rows.unpad(torch.from_numpy(inputs["x"])) * tensors["embeddings.gamma"] + tensors["embeddings.beta"]
    shape = Shape(2, 2, 16, spec.layer_norm_eps, features=8, floor=described.floor)
    pooled = encode(x, rows, tensors, shape, rfa=True)[1].numpy()
    np.testing.assert_allclose(pooled, expected / np.linalg.norm(expected, axis=-1, keepdims=True), atol=1e-5)


def test_softmax_original_agrees_with_the_float_oracle(model: Path) -> None:
    from secfwt.runtime.student import Rows, Shape, encode

    options = GenOptions(
        sequence_length=9, n_prompt_tokens=0, attention="softmax", label_texts=("red boat", "blue star")
    )
    spec = read_model(model, options)
    weights, embedder = prepare_weights(model, spec, options)
    inputs, _ = embedder.encode(["soup boils", "the small tree grows near the boat"])
    expected = run_plan(build_encoder(spec, options), weights, inputs)["pooled"][0]
    tensors = {name: torch.from_numpy(np.array(v)) for name, v in load_checkpoint(model, spec).items()}
    rows = Rows(torch.from_numpy(inputs["mask"] > 0), torch.full((2,), 9.0))
    x = rows.unpad(torch.from_numpy(inputs["x"])) * tensors["embeddings.gamma"] + tensors["embeddings.beta"]
    pooled = encode(x, rows, tensors, Shape(2, 2, 16, spec.layer_norm_eps), rfa=False)[1].numpy()
    np.testing.assert_allclose(pooled, expected / np.linalg.norm(expected, axis=-1, keepdims=True), atol=1e-5)


def test_adapter_describes_every_site(adapter: Path) -> None:
    described = json.loads((adapter / "adapter.json").read_text())
    assert described["features"] == 8
    assert described["variant"] == "folded"
    for layer in range(2):
        for site in ("gelu", "attention_var", "output_var", "den", "value", "attention_out", "numerator", "hidden"):
            seen = described["calibration"][f"layers.{layer}.{site}"]
            assert seen["min"] <= seen["q0.0001"] <= seen["q0.9999"] <= seen["max"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "one\n\n two \n", ["one", "two"]),
        ("a.tsv", 'text\tlabel\nsay "hi\tx\n', ['say "hi']),
        ("a.csv", 'sentence1,label\n"one, two",x\n', ["one, two"]),
        ("a.jsonl", '{"text": "one", "label": "x"}\n', ["one"]),
    ],
)
def test_texts_are_read_from_every_format(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    (tmp_path / name).write_text(content)
    assert read_texts(str(tmp_path / name)) == expected


def test_a_colon_limits_the_texts(texts: Path) -> None:
    assert len(read_texts(f"{texts}:7")) == 7


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", "x", r"unknown extension '\.pdf'; accepted: \.txt"),
        ("a.tsv", "words\tlabel\nx\ty\n", "none of the columns text, sentence, sentence1"),
        ("a.jsonl", '{"text": "one"}\n{"text"\n', "line 2: not JSON"),
        ("a.jsonl", '{"text": "one"}\n{"label": "x"}\n', "line 2: no column 'text'"),
        ("a.csv", "", "no records"),
    ],
)
def test_unusable_text_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConvertError, match=message):
        read_texts(str(tmp_path / name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--text: 0 texts to train on; at least 64 are needed"),
        (["--text", "nowhere.txt"], "--text nowhere.txt: no such file"),
    ],
)
def test_too_little_text_ends_with_one_message(
    model: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([str(model), "--out", str(tmp_path), *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_directory_without_a_model_is_named(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([str(tmp_path), "--text", str(texts), "--out", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert "config.json" in capsys.readouterr().err


def test_shipped_adapter_is_complete() -> None:
    described = read_adapter(SHIPPED)
    assert described.features == 32
    for layer in range(6):
        for side in ("phase_query", "phase_key"):
            assert described.tensors[f"layers.{layer}.{side}.weight"].shape == (384, 384)
    assert (SHIPPED / "adapter.safetensors").stat().st_size <= 4_500_000
