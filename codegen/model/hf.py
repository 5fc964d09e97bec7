"""Hugging Face configurations in, `ModelSpec` out; pydantic checks them at the door.

Accepted: `config.json` of BERT, RoBERTa, DistilBERT and of families that are these under another name, alone or in a
model directory, and sentence-transformers directories made of one of these, pooling and normalisation; decoders
(`decoders/`), also as GGUF files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from ..commandline.problems import ProblemsFound, Report
from ..commandline.texts import parse_json
from ..hub.files import read_json
from ..hub.gguf import gguf_file, open_gguf
from ..hub.layout import MODULES, default_prompt, sentence_modules, transformer_folder
from ..series.activations import ACTIVATIONS
from ..series.names import ActivationName
from .compatibility import check_fit
from .config import ModelConfig
from .decoders.config import KINDS as DECODERS
from .decoders.config import DecoderConfig
from .decoders.reading import available_heads, decoder_spec
from .families import Config, ElectraConfig, Kind, kind_of
from .options import GenOptions
from .place import check_place
from .spec import HeadKind, HeadSpec, ModelSpec, Rows

C = TypeVar("C", bound=ModelConfig)


def read_model(path: Path, options: GenOptions) -> ModelSpec:
    """The model that `path`, a config.json or a model directory, describes, with the head that `options` choose.

    Raises `ProblemsFound` with everything that is wrong with both, and with what the generator does not support.
    """
    check_place(path)
    report = Report()
    raw = _raw_config(path, report)
    if raw is None:
        raise ProblemsFound(report.problems)
    kind = kind_of(raw, report, DECODERS)
    if report.failed:
        raise ProblemsFound(report.problems)
    if kind is None:
        return _read_decoder(raw, options, report)
    prompt = "" if options.template else default_prompt(path, report)
    pooling = _read_pooling(path, bool(prompt), report)
    config = _validated(kind.config, raw, report)
    if config is None:
        raise ProblemsFound(report.problems)
    _check_support(config, report)
    head = _head(config, kind, options, pooling, report)
    if head is None:
        raise ProblemsFound(report.problems)
    padding = config.pad_token_id or 0
    spec = ModelSpec(
        family=kind.family, hidden_size=config.hidden_size, num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads, intermediate_size=config.intermediate_size,
        hidden_act=cast(ActivationName, config.hidden_act), layer_norm_eps=config.layer_norm_eps,
        vocab_size=config.vocab_size, max_positions=config.max_position_embeddings,
        position_offset=padding + 1 if kind.family == "roberta" else 0,
        token_types=config.type_vocab_size, pad_token_id=padding, head=head,
        prompt=prompt if head.kind == "prototypes" else "",
    )  # fmt: skip
    try:
        check_fit(spec, options)
    except ProblemsFound as found:
        report.problems += found.problems
    report.check()
    return spec


def _read_decoder(raw: dict[str, Any], options: GenOptions, report: Report) -> ModelSpec:
    config = _validated(DECODERS[raw["model_type"]].config, raw, report)
    if config is None:
        raise ProblemsFound(report.problems)
    head = _decoder_head(config, options, report)
    spec = decoder_spec(raw, config, head, options, report) if head else None
    if spec is not None:
        try:
            check_fit(spec, options)
        except ProblemsFound as found:
            report.problems += found.problems
    report.check()
    assert spec is not None
    return spec


def _raw_config(path: Path, report: Report) -> dict[str, Any] | None:
    """What config.json, or a GGUF file, says; None with the problem reported."""
    if (gguf := gguf_file(path)) is not None:
        try:
            return open_gguf(gguf).config()
        except (OSError, ValueError) as error:
            report.error(f"cannot read {gguf}: {error}")
            return None
    file = transformer_folder(path) / "config.json" if path.is_dir() else path
    return read_json(file, dict, report, "Give a config.json or a directory that has one, or a GGUF file.")


def decoder_heads(path: Path) -> list[HeadKind]:
    """Heads that a decoder can have, the checkpoint's own first; none where the model is no decoder or cannot be read,
    which `read_model` reports."""
    raw = _raw_config(path, Report())
    if raw is None or raw.get("model_type") not in DECODERS:
        return []
    config = _validated(DECODERS[raw["model_type"]].config, raw, Report())
    return [head for head, there in available_heads(config).items() if there] if config else ["prototypes"]


def has_classifier(path: Path) -> bool | None:
    """Whether a config.json, or a model directory's, names a sequence classifier; None where it cannot be read, which
    `read_model` reports."""
    try:
        file = transformer_folder(path) / "config.json" if path.is_dir() else path
        architectures = parse_json(file.read_text("utf-8-sig")).get("architectures") or [""]
    except (OSError, ValueError, AttributeError):
        return None
    return str(architectures[0]).endswith("ForSequenceClassification")


def _validated(config: type[C], raw: dict[str, Any], report: Report) -> C | None:
    try:
        # transformers writes null for what is unset
        return config.model_validate({name: value for name, value in raw.items() if value is not None})
    except ValidationError as e:
        for error in e.errors():
            field = ".".join(str(part) for part in error["loc"])
            state = "is missing" if error["type"] == "missing" else f"is {error['input']!r}"
            report.error(f"config.json: {field} {state}", error["msg"])
    return None


def _check_support(config: Config, report: Report) -> None:
    if config.hidden_act not in ACTIVATIONS:
        report.error(f"the activation is {config.hidden_act!r}", f"Accepted: {', '.join(ACTIVATIONS)}.")
    if config.position_embedding_type not in (None, "absolute"):
        report.error(f"position_embedding_type is {config.position_embedding_type!r}", "Accepted: absolute.")
    if config.is_decoder or config.add_cross_attention:
        report.error("the model is a decoder or attends to another model", "Accepted: encoders.")
    if config.hidden_size % config.num_attention_heads:
        report.error(
            f"hidden_size is {config.hidden_size}, num_attention_heads {config.num_attention_heads}",
            "The heads must divide the hidden size.",
        )
    if (config.pad_token_id or 0) >= config.vocab_size:
        report.error(
            f"pad_token_id is {config.pad_token_id}, vocab_size is {config.vocab_size}",
            f"Accepted: 0 to {config.vocab_size - 1}.",
        )
    if isinstance(config, ElectraConfig) and config.embedding_size != config.hidden_size:
        report.error(
            f"embedding_size is {config.embedding_size}, hidden_size is {config.hidden_size}",
            "Embeddings must be as wide as the rows.",
        )


def _read_pooling(directory: Path, prompted: bool, report: Report) -> Rows | None:
    """Which row a sentence-transformers directory reads: its modules may be transformer, pooling, normalisation."""
    rows: Rows | None = None
    for module in sentence_modules(directory, report):
        if module.name == "Pooling":
            config = read_json(module.folder / "config.json", dict, report)
            rows = _pooling_rows(config, report) if config is not None else None
            if prompted and config and config.get("include_prompt") is False:
                report.error(
                    "the sentence embedding leaves the tokens of its prompt out (include_prompt is false)",
                    "Accepted: true; or give --template, as in '{text}', to do without the prompt.",
                )
        elif module.name not in ("Transformer", "Normalize"):
            report.error(f"{MODULES}: module {module.name!r}", "Accepted: Transformer, Pooling, Normalize.")
    return rows


def _pooling_rows(config: dict[str, Any], report: Report) -> Rows | None:
    mode = config.get("pooling_mode")
    if mode is None:
        on = sorted(name for name, value in config.items() if name.startswith("pooling_mode_") and value is True)
        mode = "+".join(
            name.removeprefix("pooling_mode_").removesuffix("_token").removesuffix("_tokens") for name in on
        )
    if mode == "cls":
        return "first"
    if mode == "mean":
        return "mean"
    report.error(f"the sentence embedding is pooled by {mode!r}", "Accepted: mean, cls.")
    return None


def _head(config: Config, kind: Kind, options: GenOptions, pooling: Rows | None, report: Report) -> HeadSpec | None:
    architecture = config.architectures[0] if config.architectures else ""
    available: dict[HeadKind, bool] = {
        "classification": kind.heads
        and (architecture.endswith("ForSequenceClassification") or options.brought_labels > 0),
        "masked_lm": kind.heads and architecture.endswith(("ForMaskedLM", "ForPreTraining")),
        "prototypes": True,
    }
    choice = _choice(available, architecture, options, pooling is not None, report)
    if choice is None:
        return None
    labels = _labels(choice, config, options, report)
    if choice == "classification":
        return HeadSpec(choice, "first", labels, dense_act=kind.dense_act)
    if choice == "masked_lm":
        # RoBERTa's head is always GELU, the others' is the encoder's activation
        act = "gelu" if kind.family == "roberta" or config.hidden_act not in ACTIVATIONS else config.hidden_act
        return HeadSpec(choice, "select", labels, dense_act=cast(ActivationName, act), norm=True)
    return HeadSpec(choice, pooling or "mean", labels)


def _decoder_head(config: DecoderConfig, options: GenOptions, report: Report) -> HeadSpec | None:
    architecture = config.architectures[0] if config.architectures else ""
    choice = _choice(available_heads(config), architecture, options, False, report)
    if choice is None:
        return None
    labels = () if choice == "tokens" else _labels(choice, config, options, report)
    return HeadSpec(choice, "mean" if choice == "prototypes" else "last", labels)


def _choice(
    available: dict[HeadKind, bool], architecture: str, options: GenOptions, pooled: bool, report: Report
) -> HeadKind | None:
    """The head that options ask for, or the checkpoint's own; None, with the problem reported, where it has no such."""
    if options.head != "auto":
        choice: HeadKind = options.head
    elif pooled or options.label_texts:
        choice = "prototypes"
    else:
        choice = next(name for name, there in available.items() if there)
    if available.get(choice):
        return choice
    report.error(
        f"--head is {choice}, the checkpoint is a {architecture or 'model without architecture'}",
        f"It has: {', '.join(name for name, there in available.items() if there)}.",
    )
    return None


def _labels(choice: HeadKind, config: ModelConfig, options: GenOptions, report: Report) -> tuple[str, ...]:
    """Label names in logit order, after checking that the options describe every label once."""
    if choice == "classification":
        if config.problem_type in ("regression", "multi_label_classification"):
            report.error(f"problem_type is {config.problem_type!r}", "Accepted: single_label_classification.")
        own = {} if options.brought_labels else config.id2label or {}  # of a base they are those of another task
        count = options.brought_labels or len(own) or config.num_labels or 2
        named = tuple(own.get(i, f"LABEL_{i}") for i in range(count))
        if count < 2:
            report.error(f"the checkpoint has {count} label", "A classifier needs at least two.")
        source = f"the {'adapter' if options.brought_labels else 'checkpoint'} has {count} labels"
    else:
        flag = "--label-texts" if choice == "prototypes" else "--label-words"
        named = options.label_texts if choice == "prototypes" else options.label_words
        if not named:
            report.error(f"{flag} is missing", f"The {choice} head needs one for every label.")
        source = f"{flag} gives {len(named)}"
        if choice == "masked_lm" and "{mask}" not in options.template:
            report.error(
                f"--template is {options.template!r}", "It must hold {text} and {mask}, as in '{text} It was {mask}.'"
            )
    for flag, given, user in (
        ("--label-words", options.label_words, ("masked_lm", "causal_lm")),
        ("--label-texts", options.label_texts, ("prototypes",)),
    ):
        if given and choice not in user:
            report.error(f"{flag} is given", f"The {choice} head has no use for it.")
    if options.labels and named and len(options.labels) != len(named):
        report.error(f"--labels names {len(options.labels)} labels, {source}", "Name every label once, in this order.")
    return options.labels or named
