"""The decoder in torch against the float oracle, and a decoder's conversion end to end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.decoder_runs import save_features
from helpers.toy_decoders import save_decoder
from secfwt.codegen.compile import compile_model
from secfwt.codegen.model.adapter import read_adapter
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.weights import Widened
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.encoding import decode as decoded
from secfwt.codegen.ring.encoding import encode as encoded
from secfwt.codegen.ring.oracle import run_program
from secfwt.runtime.commands.convert import main

torch = pytest.importorskip("torch")
from secfwt.codegen.model.hf import read_model  # noqa: E402
from secfwt.codegen.owners.first_token import first_token  # noqa: E402
from secfwt.codegen.owners.prepare import PROBES, prepare_weights  # noqa: E402
from secfwt.codegen.plan.build import build_encoder  # noqa: E402
from secfwt.runtime.adaptation.corpus import DecoderCorpus  # noqa: E402
from secfwt.runtime.adaptation.forward import encode  # noqa: E402
from secfwt.runtime.adaptation.student import Architecture  # noqa: E402

TEXTS = ("a good film", "bad", "the news was very")


def toy(folder: Path, family: str) -> Path:
    longer = {"n_positions": 128} if family == "gpt2" else {"max_position_embeddings": 128}
    save_decoder(folder / "model", family, "prototypes", **longer)
    return folder / "model"


@pytest.mark.parametrize("relu2", [False, True], ids=["softmax", "relu2"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "llama3", "qwen2", "qwen3", "llama-biased-untied"])
def test_torch_agrees_with_the_float_oracle(family: str, relu2: bool, tmp_path: Path) -> None:
    model = toy(tmp_path, family)
    adapter = read_adapter(save_features(tmp_path / "adapter", family)) if relu2 else None
    options = GenOptions(
        attention="softmax", sequence_length=20, n_prompt_tokens=0, head="prototypes", label_texts=("good", "bad")
    )
    options = adapter.options(options) if adapter else options
    spec = read_model(model, options)
    weights, embedder = prepare_weights(model, spec, options, adapter)
    ids = [each.ids for each in embedder.tokenise(TEXTS)[0]]
    inputs = embedder.embed(ids, [[0] * len(i) for i in ids])
    expected = run_plan(build_encoder(spec, options), weights, inputs)["pooled"]

    first = first_token(embedder.tokenizer, spec, weights, PROBES)
    tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in weights.items()}
    shape = Architecture(2, 4, 32, spec.layer_norm_eps, spec.hidden_act, features=(8, 8), variant="relu2", decoder=spec)
    for text, reference in zip(ids, expected[0], strict=True):
        x, rows = next(DecoderCorpus([[first, *text]], embedder, tensors, padded=(21, 21)).all())
        traces, _, _ = encode(x, rows, tensors, shape, adapted=relu2)
        last = traces[-1].hidden[1:]
        last = last - last.mean(-1, keepdim=True) if spec.norm == "layer" else last
        hat = last * torch.rsqrt(last.square().mean(-1, keepdim=True) + spec.layer_norm_eps)
        mean = (hat * tensors["final_norm.gamma"] + tensors["final_norm.beta"]).mean(0)
        np.testing.assert_allclose(mean.numpy(), reference, atol=2e-4)


def converted(model: Path, folder: Path, *more: str) -> Path:
    words = ["good", "bad", "film", "the", "news", "was", "very", "it", "a", "of", "to"]
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(words, int(rng.integers(2, 6)))) for _ in range(80)]
    (folder / "texts.txt").write_text("\n".join(lines))
    steps = ["--rank", "2", "--layer-steps", "25", "--steps", "10", "--fitted-steps", "3"]
    where = ["--text", str(folder / "texts.txt"), "--out", str(folder / "out"), "--run", str(folder / "run")]
    main([str(model), *where, "--features", "8", *steps, *more])
    return folder / "out"


def test_a_converted_decoder_runs_in_the_ring(tmp_path: Path) -> None:
    model = toy(tmp_path, "llama")
    adapter = converted(model, tmp_path, "--rfa", "relu2")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for stage in ("layers", "whole"):
        losses = [line["loss"] for line in log if line["stage"] == stage]
        assert np.mean(losses[-4:]) < np.mean(losses[:4])

    options = GenOptions(
        sequence_length=30, n_prompt_tokens=2, intrinsic_dim=5, attention="auto", label_texts=("good film", "bad film")
    )
    compiled = compile_model(model, options, adapter)
    assert (compiled.options.attention, compiled.options.rfa_variant) == ("rfa", "relu2")
    assert compiled.weights is not None
    assert compiled.embedder is not None
    inputs = compiled.embedder.encode(TEXTS, ["good film"] * 3)[0]
    inputs["z"] = np.zeros((1, 5), np.float32)
    words: dict[str, Any] = compiled.lowered.words(Widened(compiled.weights))
    for kind in ("example", "candidate"):
        words |= {v.attrs["name"]: encoded(inputs[v.attrs["name"]], v.scale) for v in compiled.ring.inputs(kind)}
    expected = run_plan(compiled.plan, compiled.weights, inputs)["logits"]
    (logits,) = run_program(compiled.ring, words, ("logits",)).values()
    scale = next(compiled.ring[o.value].scale for o in compiled.ring.outputs if o.name == "logits")
    spread = max(1.0, float(np.abs(expected).max()))
    assert np.abs(decoded(logits, scale).reshape(expected.shape) - expected).max() < 0.1 * spread


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "--rfa is folded, the model is a decoder: accepted: relu2"),
        (("--rfa", "relu2", "--activation", "relu"), "--activation is relu, the model is a decoder"),
        (("--rfa", "relu2", "--harmonics", "3"), "--harmonics is 3, the model is a decoder"),
    ],
)
def test_what_serves_encoders_only_is_refused(
    more: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        converted(toy(tmp_path, "llama"), tmp_path, *more)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
