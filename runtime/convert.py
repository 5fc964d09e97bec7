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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..codegen.calibration import QUANTILES, outward
from ..codegen.checkpoint import load_checkpoint
from ..codegen.embed import Embedder, Settings, embedding_tables
from ..codegen.hf import read_model
from ..codegen.options import GenOptions
from ..codegen.problems import ProblemsFound
from ..codegen.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from .adaptation import Corpus
    from .student import Shape

Floats = NDArray[np.float32]
MIN_TEXTS = 64
MAX_TOKENS = 64
TEXT_COLUMNS = ("text", "sentence", "sentence1")


class ConvertError(Exception):
    """An input that cannot be used; the message names it and what would be accepted."""


def read_texts(argument: str) -> list[str]:
    """Texts of `FILE` or, for `FILE:N`, its first N.

    Accepted: .txt (one text a line), .jsonl, .csv and .tsv with a column text, sentence or sentence1.
    """
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
        numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        texts = _column(path, ((number, _record(path, number, line)) for number, line in numbered))
    elif path.suffix in (".csv", ".tsv"):
        tabs = path.suffix == ".tsv"
        quoting: Literal[0, 3] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
        reader = csv.DictReader(lines, delimiter="\t" if tabs else ",", quoting=quoting)
        texts = _column(path, ((reader.line_num, record) for record in reader))
    else:
        raise ConvertError(f"--text {path}: unknown extension {path.suffix!r}; accepted: .txt, .jsonl, .csv, .tsv")
    return [t.strip() for t in texts if t.strip()][:limit]


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConvertError(f"--text {path}: line {number}: not JSON: {error.msg}") from None
    if not isinstance(record, dict):
        raise ConvertError(f"--text {path}: line {number}: expected a JSON object")
    return record


def _column(path: Path, records: Iterable[tuple[int, dict[str, Any]]]) -> list[str]:
    texts, column = [], None
    for number, record in records:
        column = column or next((c for c in TEXT_COLUMNS if c in record), None)
        if column is None:
            raise ConvertError(f"--text {path}: none of the columns {', '.join(TEXT_COLUMNS)}")
        if not isinstance(record.get(column), str):
            raise ConvertError(f"--text {path}: line {number}: no column {column!r}")
        texts.append(record[column])
    if not texts:
        raise ConvertError(f"--text {path}: no records")
    return texts


def load_original(model: Path, features: int, floor: float) -> tuple[Embedder, Shape, dict[str, Tensor]]:
    """A model directory's embedder, its encoder's shape, its weights by canonical name. Raises `ProblemsFound`."""
    import torch

    from .student import Shape

    # the head plays no part in adaptation: any two labels will do
    options = GenOptions(
        sequence_length=MAX_TOKENS, n_prompt_tokens=0, rfa_features=features, rfa_floor=floor,
        head="prototypes", label_texts=("yes", "no"),
    )  # fmt: skip
    spec = read_model(model, options)
    weights = load_checkpoint(model, spec)
    embedder = Embedder(load_tokenizer(model), embedding_tables(weights), Settings.of(spec, options))
    shape = Shape(
        layers=spec.num_hidden_layers, heads=spec.num_attention_heads, hidden=spec.hidden_size,
        eps=spec.layer_norm_eps, act=spec.hidden_act, features=features, floor=floor,
    )  # fmt: skip
    return embedder, shape, {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}


def tokenise(embedder: Embedder, texts: Sequence[str]) -> list[list[int]]:
    """Token ids with the special tokens, cut at `MAX_TOKENS`."""
    embedder.tokenizer.enable_truncation(MAX_TOKENS)
    return [encoding.ids for encoding in embedder.tokenizer.encode_batch(list(texts))]


def measure(corpus: Corpus, adapter: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """On texts never trained on: how close the embeddings are to the original's, and every site's range."""
    import torch

    from .student import encode

    cosines, prompted = [], []
    seen: dict[str, list[Floats]] = {}
    weights = {**corpus.teacher, **adapter}
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch.no_grad():
        for x, rows in corpus.epoch():
            traces, mine, _ = encode(x, rows, weights, corpus.shape, rfa=True)
            originals, original, _ = encode(x, rows, corpus.teacher, corpus.shape, rfa=False)
            cosines.append((mine * original).sum(-1).numpy())
            at = corpus.shape.layers * 2 // 3
            prompt = corpus.prompt(originals[at].sites["hidden"], rows, at)
            mine = encode(x, rows, weights, corpus.shape, rfa=True, prompt=prompt, at=at)[1]
            original = encode(x, rows, corpus.teacher, corpus.shape, rfa=False, prompt=prompt, at=at)[1]
            prompted.append((mine * original).sum(-1).numpy())
            for layer, trace in enumerate(traces):
                for site, value in trace.sites.items():
                    seen.setdefault(f"layers.{layer}.{site}", []).append(value.numpy().ravel())
    torch.set_float32_matmul_precision(precision)
    fidelity = {"texts": len(corpus.texts)} | _cosine_summary("cosine", cosines) | _cosine_summary("prompted", prompted)
    return fidelity, {site: _range(np.concatenate(values)) for site, values in seen.items()}


def _cosine_summary(name: str, parts: list[Floats]) -> dict[str, float]:
    values = np.concatenate(parts)
    return {f"{name}_mean": round(float(values.mean()), 4), f"{name}_q0.05": round(float(np.quantile(values, 0.05)), 4)}


def _range(values: Floats) -> dict[str, float]:
    low, high = np.quantile(values, QUANTILES)
    return {
        "min": outward(float(values.min()), up=False), "max": outward(float(values.max()), up=True),
        f"q{QUANTILES[0]}": outward(float(low), up=False), f"q{QUANTILES[1]}": outward(float(high), up=True),
    }  # fmt: skip


def save(out: Path, adapter: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write both files; matrices and vectors as float16."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.half().contiguous() for name, tensor in sorted(adapter.items())}
    save_file(halves, out / "adapter.safetensors")
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
        needed = f"at least {MIN_TEXTS} are needed, some thousands are better"
        raise ConvertError(f"--text: {len(texts)} texts to train on; {needed}")
    embedder, shape, teacher = load_original(options.model, options.features, options.floor)
    recipe = Recipe(steps=options.steps, seed=options.seed)
    training = Corpus(tokenise(embedder, texts), embedder, teacher, shape, recipe)
    unseen = tokenise(embedder, held_out)

    def log(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", flush=True)

    def checkpoint(parameters: dict[str, Tensor]) -> None:
        adapter = {name: tensor.detach().half().float() for name, tensor in parameters.items()}
        fidelity, calibration = measure(Corpus(unseen, embedder, teacher, shape, recipe), adapter)
        description = {
            "base": options.base or options.model.resolve().name, "features": shape.features, "variant": "folded",
            "floor": shape.floor, "steps": options.steps, "seed": options.seed,
            "fidelity": fidelity, "calibration": calibration,
        }  # fmt: skip
        save(options.out, adapter, description)
        log(", ".join(f"{name} {value}" for name, value in fidelity.items()))

    log(f"{len(texts)} texts to train on, {len(held_out)} held out")
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # bfloat16 products where the processor has them: several times faster
    try:
        adapt(training, log, checkpoint)
    finally:
        torch.set_float32_matmul_precision(precision)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="secfwt-convert", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="Hugging Face BERT directory")
    measured = "texts to measure on (default: 1 in 20)"
    for option, text in (("--text", "public texts, or a file's first N"), ("--held-out", measured)):
        parser.add_argument(option, nargs="+", default=[], metavar="FILE[:N]", help=text)
    parser.add_argument("--out", type=Path, required=True, help="directory of the adapter")
    parser.add_argument("--base", help="name of the original that adapter.json gives (default: the directory's)")
    parser.add_argument("--features", type=int, default=32, help="random features a head")
    parser.add_argument("--floor", type=float, default=0.02, help="smallest denominator, see docs/program.md")
    parser.add_argument("--steps", type=int, default=1650)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        convert(options)
    except ProblemsFound as found:
        print(found, file=sys.stderr)
        raise SystemExit(2) from None
    except ConvertError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
