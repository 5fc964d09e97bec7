"""`secfwt-convert`: adapt a sentence encoder to folded random-feature attention, on public text, in the clear.

    python -m secfwt.runtime.convert MODEL_DIR --text FILE... --out DIR --steps N --seed S

The result, `adapter.safetensors` and `adapter.json`, replaces the attention's query and key projections by phase
projections (docs/program.md) and some biases and layer norms by trained ones; every other weight stays the original's.
Torch is needed here and nowhere else in the package.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from .adaptation import Corpus
    from .student import Shape

MIN_TEXTS = 64
MAX_TOKENS = 64
TEXT_COLUMNS = ("text", "sentence", "sentence1")


class ConvertError(Exception):
    """An input that cannot be used; the message names it and what would be accepted."""


def read_texts(argument: str) -> list[str]:
    """Texts of `FILE` or, for `FILE:N`, its first N: .txt (one a line), .jsonl, .csv or .tsv (column text or sentence1)."""
    name, colon, count = argument.rpartition(":")
    path, limit = (Path(name), int(count)) if colon and count.isdigit() else (Path(argument), None)
    if not path.is_file():
        raise ConvertError(f"--text {argument}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConvertError(f"--text {path}: byte {error.start} is not UTF-8") from None
    if path.suffix == ".txt":
        texts = lines
    elif path.suffix == ".jsonl":
        texts = _column(path, [json.loads(line) for line in lines if line.strip()])
    elif path.suffix in (".csv", ".tsv"):
        quoting = csv.QUOTE_NONE if path.suffix == ".tsv" else csv.QUOTE_MINIMAL
        texts = _column(path, list(csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",", quoting=quoting)))
    else:
        raise ConvertError(f"--text {path}: unknown extension {path.suffix!r}; accepted: .txt, .jsonl, .csv, .tsv")
    return [t.strip() for t in texts if t.strip()][:limit]


def _column(path: Path, records: list[dict[str, Any]]) -> list[str]:
    for column in TEXT_COLUMNS:
        if records and column in records[0]:
            return [str(r[column]) for r in records]
    raise ConvertError(f"--text {path}: none of the columns {', '.join(TEXT_COLUMNS)}")


def tokenise(model: Path, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids with the special tokens, cut at `max_tokens`."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


_TENSORS = {
    "attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v",
    "attention.output.dense": "o", "intermediate.dense": "ffn_in", "output.dense": "ffn_out",
}  # fmt: skip
_NORMS = {"attention.output.LayerNorm": "attention_norm", "output.LayerNorm": "output_norm"}


def load_original(model: Path, features: int, floor: float) -> tuple[Shape, dict[str, Tensor]]:
    """A BERT directory's weights under canonical names, and its shape."""
    from safetensors.torch import load_file

    from .student import Shape

    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (model / name).is_file():
            raise ConvertError(f"{model}: no {name}; expected a Hugging Face BERT directory")
    config = json.loads((model / "config.json").read_text())
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        found = f"{config.get('model_type')!r} with {config.get('hidden_act')!r}"
        raise ConvertError(f"{model}: model type {found}; convert accepts 'bert' with 'gelu'")
    try:
        tensors = {name.removeprefix("bert."): t.float() for name, t in load_file(model / "model.safetensors").items()}
    except SafetensorError as error:
        raise ConvertError(f"{model / 'model.safetensors'}: {error}") from None
    embeddings = {
        f"embeddings.{short}": tensors[f"embeddings.{name}_embeddings.weight"]
        for name, short in (("word", "word"), ("position", "position"), ("token_type", "type"))
    }
    weights = embeddings | {
        "embeddings.norm.gamma": tensors["embeddings.LayerNorm.weight"],
        "embeddings.norm.beta": tensors["embeddings.LayerNorm.bias"],
    }
    for layer in range(config["num_hidden_layers"]):
        source, target = f"encoder.layer.{layer}", f"layers.{layer}"
        for name, short in _TENSORS.items():
            for part in ("weight", "bias"):
                weights[f"{target}.{short}.{part}"] = tensors[f"{source}.{name}.{part}"]
        for name, short in _NORMS.items():
            weights[f"{target}.{short}.gamma"] = tensors[f"{source}.{name}.weight"]
            weights[f"{target}.{short}.beta"] = tensors[f"{source}.{name}.bias"]
    return Shape(
        layers=config["num_hidden_layers"], heads=config["num_attention_heads"], hidden=config["hidden_size"],
        eps=config["layer_norm_eps"], features=features, floor=floor,
    ), weights  # fmt: skip


def measure(corpus: Corpus, adapter: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """On texts never trained on: how close the embeddings are to the original's, and every site's range."""
    import torch

    from .student import encode

    cosines, prompted = [], []
    seen: dict[str, list[np.ndarray]] = {}
    weights = {**corpus.teacher, **adapter}
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch.no_grad():
        for x, rows in corpus.epoch():
            traces, mine, _ = encode(x, rows, weights, corpus.shape, rfa=True)
            originals, original, _ = encode(x, rows, corpus.teacher, corpus.shape, rfa=False)
            cosines.append((mine * original).sum(-1).numpy())
            at = corpus.shape.layers * 2 // 3
            prompt = corpus.prompt(rows, originals[at - 1].hidden, at)
            mine = encode(x, rows, weights, corpus.shape, rfa=True, prompt=prompt, at=at)[1]
            original = encode(x, rows, corpus.teacher, corpus.shape, rfa=False, prompt=prompt, at=at)[1]
            prompted.append((mine * original).sum(-1).numpy())
            for layer, trace in enumerate(traces):
                for site, value in trace.sites.items():
                    seen.setdefault(f"layers.{layer}.{site}", []).append(value.numpy().ravel())
    torch.set_float32_matmul_precision(precision)
    fidelity = {"texts": len(corpus.texts)} | _cosine_summary("cosine", cosines) | _cosine_summary("prompted", prompted)
    return fidelity, {site: _range(np.concatenate(values)) for site, values in seen.items()}


def _cosine_summary(name: str, parts: list[np.ndarray]) -> dict[str, float]:
    values = np.concatenate(parts)
    return {f"{name}_mean": round(float(values.mean()), 4), f"{name}_q0.05": round(float(np.quantile(values, 0.05)), 4)}


def _range(values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values, [1e-4, 1 - 1e-4])
    found = {"min": values.min(), "max": values.max(), "q0.0001": low, "q0.9999": high}
    return {name: float(f"{float(value):.5g}") for name, value in found.items()}


def save(out: Path, adapter: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write both files; matrices and vectors as float16."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in sorted(adapter.items())}, out / "adapter.safetensors")
    (out / "adapter.json").write_text(json.dumps(description, indent=1) + "\n")


def convert(options: argparse.Namespace) -> None:
    """Read, train, measure, write."""
    try:
        import torch
    except ImportError:
        raise ConvertError("convert needs PyTorch, which is not installed: pip install torch") from None
    from .adaptation import Corpus, Recipe, adapt

    started = time.monotonic()
    texts = [text for argument in options.text for text in read_texts(argument)]
    held_out = [text for argument in options.held_out for text in read_texts(argument)]
    if not held_out:
        held_out, texts = texts[::20], [t for i, t in enumerate(texts) if i % 20]
    if len(texts) < MIN_TEXTS:
        raise ConvertError(f"--text: {len(texts)} texts to train on; at least {MIN_TEXTS} are needed, some thousands are better")
    shape, teacher = load_original(options.model, options.features, options.floor)
    recipe = Recipe(steps=options.steps, seed=options.seed)
    training = Corpus(tokenise(options.model, texts, MAX_TOKENS), teacher, shape, recipe)
    unseen = tokenise(options.model, held_out, MAX_TOKENS)
    torch.set_float32_matmul_precision("medium")  # bfloat16 products where the processor has them

    def log(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", flush=True)

    def checkpoint(parameters: dict[str, Tensor]) -> None:
        adapter = {name: tensor.detach().half().float() for name, tensor in parameters.items()}
        fidelity, calibration = measure(Corpus(unseen, teacher, shape, recipe), adapter)
        description = {
            "base": options.base or options.model.resolve().name, "features": shape.features, "variant": "folded",
            "floor": shape.floor, "steps": options.steps, "seed": options.seed, "fidelity": fidelity, "calibration": calibration,
        }  # fmt: skip
        save(options.out, adapter, description)
        log(", ".join(f"{name} {value}" for name, value in fidelity.items()))

    log(f"{len(texts)} texts to train on, {len(held_out)} held out")
    adapt(training, log, checkpoint)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="secfwt-convert", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="Hugging Face BERT directory")
    parser.add_argument("--text", nargs="+", default=[], metavar="FILE[:N]", help="public texts, or a file's first N of them")
    parser.add_argument("--held-out", nargs="+", default=[], metavar="FILE[:N]", help="texts to measure on (default: 1 in 20)")
    parser.add_argument("--out", type=Path, required=True, help="directory of the adapter")
    parser.add_argument("--base", help="name of the original that adapter.json gives (default: the directory's)")
    parser.add_argument("--features", type=int, default=32, help="random features a head")
    parser.add_argument("--floor", type=float, default=0.02, help="smallest denominator, see docs/program.md")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        convert(options)
    except ConvertError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
