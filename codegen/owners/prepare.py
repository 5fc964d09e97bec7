"""What the model owner does once: from a checkpoint to every tensor that the plan names."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..commandline.problems import Problem, ProblemsFound, note
from ..hub.chat import asked, chat_template
from ..hub.ends import end_ids
from ..hub.gguf import gguf_file
from ..hub.tokenizer import continued_ids, following_ids, label_token_ids
from ..model.adapter import Adapter, apply_adapter
from ..model.checkpoint import load_checkpoint
from ..model.features import add_features
from ..model.lora.changes import Lora
from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.weights import Weights, prompt_name, prompted_layers
from ..plan.build import build_encoder
from ..plan.execution import Added
from ..plan.oracle import run_plan
from .check import check_embedder, fitting_tokenizer
from .embed import Embedder, Settings, embedding_tables
from .first_token import first_token, sink_weights
from .frozen import FrozenLayers
from .peft import check_place, from_words, read_prompt
from .sequences import Layout, before_label, in_template, template_end

PROBES = (
    "The committee met on Tuesday to discuss the budget for the coming year.",
    "A quiet film about two brothers who have not spoken to each other for a decade.",
    "Shares of the company fell by 3 % after it said that sales had slowed.",
    "The home team won the final 2-1 in front of 40,000 people.",
)
"""Public texts that show which first token serves, and how large rows are."""
SAME = 1e-6
"""Embeddings whose elements differ by less are of the same tokens."""


def prepare_weights(
    path: Path, spec: ModelSpec, options: GenOptions, adapter: Adapter | None = None, prompt: Path | None = None,
    lora: Lora | None = None,
) -> tuple[Weights, Embedder]:  # fmt: skip
    """All canonical tensors of a program, float32, and the embedder that the data owner will use.

    `path`: a model directory or any file in it. `options` must already be the adapter's (`Adapter.options`).
    `prompt`: folder of a prompt of PEFT's, which the search begins from. `lora`: what is merged into the checkpoint's.
    Raises `ProblemsFound`.
    """
    tokenizer = fitting_tokenizer(_place(path), spec)
    label_ids = _label_ids(tokenizer, spec, options)
    weights = load_checkpoint(path, spec, label_ids, lora, bases=bool(options.private_ranks))
    first = None
    if spec.causal:  # what sequences begin with is the base's choice, whatever an adapter makes of it
        base = weights if lora is None else load_checkpoint(path, spec, label_ids)
        first = first_token(tokenizer, spec, base, PROBES)
        weights |= sink_weights(spec, weights, first)
    frozen = FrozenLayers.of(spec, options, weights)  # an adapter's tensors are for random features
    if adapter is not None:
        below = tuple(f"layers.{i}." for i in range(options.clear_layers))
        kept = {name: value for name, value in weights.items() if name.startswith(below)}
        weights = apply_adapter(weights, spec, options, adapter)
        if first is not None:  # behind the layers as they will run
            weights |= sink_weights(spec, weights | kept, first)
    elif options.attention == "rfa":
        weights = add_features(weights, spec, options)
    layout = _layout(_place(path), tokenizer, spec, options) if spec.causal else None
    embedder = Embedder(tokenizer, embedding_tables(weights), Settings.of(spec, options, layout), frozen)
    check_embedder(embedder)
    if spec.prompt:
        note(f"{spec.prompt!r} stands before every text, the model's default prompt (--template changes that)")
    for layer in range(0) if spec.causal else prompted_layers(spec, options):
        weights[prompt_name(options, layer)] = initial_prompt(spec, options, weights, embedder, layer)
    if prompt is not None:
        check_place(spec, options)
        rows = read_prompt(prompt, options.n_prompt_tokens, spec.hidden_size)
        weights[prompt_name(options, 0)] = from_words(rows, embedder.tables, spec)
    if spec.head.kind == "prototypes":
        weights["head.prototypes"] = prototypes(spec, options, weights, embedder)
    return weights, embedder


def settled(path: Path, spec: ModelSpec, options: GenOptions, lora: Lora | None = None) -> GenOptions:
    """The options with what follows from a decoder's own files: the template inside its chat template, how long the
    template's end is, and how large the rows are that a prompt is added to. Raises `ProblemsFound`."""
    if not spec.causal:
        return options
    tokenizer = fitting_tokenizer(_place(path), spec)
    options = with_template(path, tokenizer, options)
    end = options.template_rows
    if options.prompt_at == "template" and options.n_prompt_tokens > end:
        header = f"--n-prompt-tokens is {options.n_prompt_tokens}, the template has {end} tokens behind the text"
        raise ProblemsFound([Problem("error", header, f"Accepted with --prompt-at template: 0 to {end}.")])
    if not options.n_prompt_tokens:
        return options
    # as long as the probes are, so that it does not depend on a program's length
    longest = max(len(in_template(tokenizer, options.template, [text, text]).ids) for text in PROBES)
    plain = options.in_the_clear(sequence_length=max(2, min(longest, spec.max_positions - 1)))
    weights, embedder = prepare_weights(path, spec, plain, lora=lora)
    inputs, _ = embedder.encode([text if "{text_b}" not in options.template else (text, text) for text in PROBES])
    rows = run_plan(build_encoder(spec, plain, layers=options.prompt_layer), weights, inputs, dtype=np.float32)["rows"]
    square = np.square(rows[0][inputs["mask"] > 0]).mean()
    # half as long as the rows there: z = 1 is to be a step, not another text
    return replace(options, prompt_bits=round(np.log2(square) / 2) - 1)


def with_template(path: Path, tokenizer: Tokenizer, options: GenOptions) -> GenOptions:
    """A decoder's options with the template inside its chat template, where that is asked for, and how long the
    template's end is. Raises `ProblemsFound`."""
    if options.chat:
        options = replace(options, template=_in_chat(path, options.template), chat=False)
    return replace(options, template_rows=len(continued_ids(tokenizer, template_end(options.template))))


def _in_chat(path: Path, template: str) -> str:
    """A template inside the model's chat template."""
    if not (chat := chat_template(_place(path))):
        advice = "Leave --chat out: the model was not trained on conversations, or its template is not here."
        raise ProblemsFound([Problem("error", f"--chat is given, {path} has no chat template", advice)])
    return asked(chat, template or "{text}")


def _place(path: Path) -> Path:
    """Where a model's tokenizer is: in its folder, or in its GGUF file."""
    return path if path.is_dir() or gguf_file(path) else path.parent


def _label_ids(tokenizer: Tokenizer, spec: ModelSpec, options: GenOptions) -> list[int]:
    """The tokens whose logits are the labels'."""
    if spec.head.kind == "masked_lm":
        return label_token_ids(tokenizer, options.label_words)
    if spec.head.kind == "causal_lm":
        return following_ids(tokenizer, options.label_words, before_label(options.template)[1])
    return []


def _layout(model: Path, tokenizer: Tokenizer, spec: ModelSpec, options: GenOptions) -> Layout:
    """A prompt of its own begins as the template's end, repeated, or as line breaks: as what stands there anyway."""
    end = continued_ids(tokenizer, template_end(options.template))
    first, count = options.prompt_at == "start", options.own_rows
    own = ([] if first else end) or continued_ids(tokenizer, "\n") or [0]
    ends = end_ids(model, tokenizer)
    return Layout(spec.norm == "layer", len(end), tuple((own * count)[:count]), first, ends)


def initial_prompt(
    spec: ModelSpec, options: GenOptions, weights: Weights, embedder: Embedder, layer: int
) -> NDArray[np.float32]:
    """A layer's prompt at z = 0, `[n, h]`: separators as they enter that layer.

    Heads rest on separators (Clark et al. 2019), so these change the model little; Black-Box Tuning's random words
    moved accuracy by up to four points before the search began (docs/accuracy.md).
    """
    n = options.n_prompt_tokens
    first, *rest = embedder.tokenizer.encode("").ids
    if options.prompt_at == "start":
        words = embedder.tables["word"][[(rest or [first])[-1]] * n]
        return from_words(words, embedder.tables, spec)
    ids = [first, *rest[-1:] * n, *rest]
    short = replace(options, sequence_length=len(ids))
    settings = replace(embedder.settings, sequence_length=len(ids))
    short_embedder = Embedder(embedder.tokenizer, embedding_tables(weights), settings, embedder.frozen)
    inputs = short_embedder.embed([ids], [[0] * len(ids)])
    rows = run_plan(build_encoder(spec, short, layers=layer), weights, inputs)["rows"]
    return rows[0, 0, 1 : 1 + n].astype(np.float32)


def made_by_layers(spec: ModelSpec, options: GenOptions, weights: Weights, embedder: Embedder, added: Added) -> Weights:
    """Tensors that follow from the layers, where somebody else adds to their products (`run_plan`): what a decoder's
    first token is replaced by, and prototypes. Raises `ProblemsFound`."""
    made: Weights = {}
    if spec.causal:
        made = sink_weights(spec, weights, first_token(embedder.tokenizer, spec, weights, PROBES), added)
    if spec.head.kind == "prototypes":
        made["head.prototypes"] = prototypes(spec, options, weights | made, embedder, added)
    return made


def prototypes(
    spec: ModelSpec, options: GenOptions, weights: Weights, embedder: Embedder, added: Added | None = None
) -> NDArray[np.float32]:
    """Unit embeddings `[L, h]` of the label texts, by the model itself with the attention that the options name.

    Raises `ProblemsFound` where two are the same: no prompt could tell those labels apart.
    """
    settings = replace(embedder.settings, position_offset=spec.position_offset)  # no prompt stands before them
    whole = Embedder(embedder.tokenizer, embedder.tables, settings, embedder.frozen)
    inputs, _ = whole.encode(options.label_texts)
    pooled = run_plan(build_encoder(spec, options), weights, inputs, added=added)["pooled"][0]
    unit = pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)
    for (a, text), (b, other) in combinations(enumerate(options.label_texts), 2):
        if np.abs(unit[a] - unit[b]).max() < SAME:
            header = f"label texts {text!r} and {other!r} have the same embedding: the tokenizer knows neither"
            advice = "Say what the labels mean in words: tune.py --label-text 'label=text', secfwt-gen --label-texts."
            raise ProblemsFound([Problem("error", header, advice)])
    return np.asarray(unit, np.float32)
