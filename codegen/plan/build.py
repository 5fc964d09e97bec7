"""From a model and options to the model plan (docs/program.md, "Model plan")."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict
from typing import Any, NamedTuple

from ..model.compatibility import check_fit
from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.weights import FOLDED, derived_shapes, prompt_name, prompted_layers
from .decoder import decoder_row, decoder_rows
from .generation import add_generation
from .graph import CLASS_MEANS, LOSS_HEALTH, UNION_TOTAL, Output, Plan, Stage, Visibility
from .inputs import affine, candidate, example
from .projection import PUBLIC_BITS, projection_scale, projection_seed


def build_plan(spec: ModelSpec, options: GenOptions) -> Plan:
    """The program that a tuning step runs: candidate prompts and labelled examples to losses and logits.

    Inputs: `z` [d] a candidate; `x` [T, h] normalised embedding rows, `mask` [T], `labels` [L] one-hot,
    `example_weight` [1] and, when the head reads a mask token or a mean, `select` [T] an example. With
    `--prototype-shots` also `shots` [1] a candidate, of label words [2], and `share` [1] an example: one in so many of
    its label.
    A decoder's `x`, `mask` and `select` have more rows (`decoder.py`), and its embeddings are not normalised. With
    `--head tokens` it is another program, which generates (`generation.py`).
    Raises `ProblemsFound` when options and model do not fit each other.
    """
    check_fit(spec, options)
    if options.attention == "auto":
        raise ValueError("whoever reads the model decides the attention (`model.adapter.choose_attention`)")
    if options.weights == "auto":
        raise ValueError("whoever reads the model decides whose its weights are (`model.lora.choice.choose_weights`)")
    if options.prototype_shots is None:
        raise ValueError("whoever reads the model decides what shots weigh (`model.compatibility.choose_shots`)")
    plan = _empty(spec, options)
    if spec.head.kind == "tokens":
        add_generation(plan, spec, options)
        return plan
    pooled = (decoder_row if spec.causal else _pooled_row)(plan, spec, options)
    logits, shots = _head(plan, spec, options, pooled)
    if not options.n_prompt_tokens:  # inference: there are no candidates that losses could tell apart
        plan.outputs.append(Output("logits", logits, max_opened=options.max_logit_rows or None))
        return plan
    labels = example(plan, "labels", (spec.head.num_labels,), 1.0)
    weight = example(plan, "example_weight", (1,), 1.0)
    clip: dict[str, Any] = {"clip": options.clip_loss} if options.noise else {}
    loss = plan.add("loss", (logits, labels), shape=(1,), loss=options.loss, margin=options.margin, **clip)
    total: dict[str, Any] = {"total": UNION_TOTAL} if options.min_owners else {}
    mean = plan.add("mean_examples", (loss, weight), shape=(1,), stage=Stage.CANDIDATE, **total)
    name, opened = "loss", mean
    if options.health:
        name, opened = LOSS_HEALTH, plan.add("health", (mean, weight), shape=(2,), stage=Stage.CANDIDATE, **total)
    limits = {"max_opened": options.max_evaluations or None, "min_owners": options.min_owners or None}
    plan.outputs.append(Output(name, opened, noise=options.noise, **limits))
    most = 1 if options.reveal == "losses" else None
    plan.outputs.append(Output("logits", logits, most, options.max_logit_rows or None))
    if shots is not None:
        share = example(plan, "share", (1,), 1.0)
        inputs = (shots.row, labels, share, shots.numbers)
        means = plan.add("class_means", inputs, shape=plan[shots.means].shape, stage=Stage.CANDIDATE)
        plan.outputs.append(Output(CLASS_MEANS, means, 1, keep=shots.means))
    return plan


def build_encoder(spec: ModelSpec, options: GenOptions, layers: int | None = None) -> Plan:
    """A plan without prompt: the `rows` (an encoder's normalised) entering layer `layers`, or with None the `pooled`
    output row.

    It starts where the parties do: above the frozen layers.
    """
    plan = _empty(spec, options)
    if layers is None:
        pooled = (decoder_row if spec.causal else _pooled_row)(plan, spec, options, prompt=False)
        plan.outputs.append(Output("pooled", pooled))
    elif spec.causal:
        plan.outputs.append(Output("rows", decoder_rows(plan, spec, options, layers)))
    else:
        rows, mask = _token_inputs(plan, spec, options)
        for layer in range(options.clear_layers, layers):
            rows = _layer(plan, spec, options, layer, rows, mask)
        plan.outputs.append(Output("rows", rows))
    return plan


def _empty(spec: ModelSpec, options: GenOptions) -> Plan:
    secret: Collection[str] | None = () if options.weights == "public" else None
    if options.weights == "base":  # what is made of all tensors together, as the first token's keys, tells of each
        secret = {*options.private_tensors, *derived_shapes(spec, options)}
    meta = {"spec": asdict(spec), "options": asdict(options), "labels": list(spec.head.labels)}
    return Plan(secret=secret, meta=meta)


def _token_inputs(plan: Plan, spec: ModelSpec, options: GenOptions) -> tuple[int, int]:
    tokens = options.sequence_length
    # A normalised row of length h has squared length at most h.
    rows = example(plan, "x", (tokens, spec.hidden_size), math.sqrt(spec.hidden_size))
    return rows, example(plan, "mask", (tokens,), 1.0)


def _pooled_row(plan: Plan, spec: ModelSpec, options: GenOptions, prompt: bool = True) -> int:
    rows, mask = _token_inputs(plan, spec, options)
    select = None
    if spec.head.rows != "first":
        select = example(plan, "select", (options.sequence_length,), 1.0)
    n = options.n_prompt_tokens if prompt else 0
    z = candidate(plan, spec, options) if n else None
    length = options.sequence_length + n
    for layer in range(options.clear_layers, spec.num_hidden_layers):
        if z is not None and layer in prompted_layers(spec, options):
            if layer > options.prompt_layer:
                rows = plan.add("token_rows", (rows,), shape=(options.sequence_length, spec.hidden_size), n=n)
            inserted = _prompt(plan, spec, options, z, layer)
            rows = plan.add("insert", (rows, inserted), shape=(length, spec.hidden_size))
        if z is not None and layer == options.prompt_layer:
            mask = plan.add("insert_mask", (mask,), shape=(length,), bound=1.0, n=n, value=1.0)
            if select is not None:  # prompt rows are attended to but never read or pooled
                select = plan.add("insert_mask", (select,), shape=(length,), bound=1.0, n=n, value=0.0)
        rows = _layer(plan, spec, options, layer, rows, mask)
    inputs = (rows,) if select is None else (rows, select)
    kind = {"first": "first_row", "select": "select_row", "mean": "mean_rows"}[spec.head.rows]
    pooled = plan.add(kind, inputs, shape=(spec.hidden_size,))
    # a row, or a mean whose weights add up to one: the affine map commutes, and meets one row instead of all
    return affine(plan, pooled, f"layers.{spec.num_hidden_layers - 1}.output_norm")


def _prompt(plan: Plan, spec: ModelSpec, options: GenOptions, z: int, layer: int) -> int:
    index = layer - options.prompt_layer
    rows = plan.add(
        "prompt", (z,), shape=(options.n_prompt_tokens, spec.hidden_size), weights={"p0": prompt_name(options, layer)},
        n_prompt_tokens=options.n_prompt_tokens, seed=projection_seed(options.seed, index), bits=PUBLIC_BITS,
        scale_bits=projection_scale(options.intrinsic_dim), first=index * options.intrinsic_dim,
        intrinsic_dim=options.intrinsic_dim,
    )  # fmt: skip
    if options.prompt_at != "start":
        return rows
    return plan.add("normalize", (rows,), shape=plan[rows].shape, eps=spec.layer_norm_eps, of="prompt")


def _layer(plan: Plan, spec: ModelSpec, options: GenOptions, layer: int, rows: int, mask: int) -> int:
    """The affine part of the layer norm below, then the layer up to its last layer norm's affine part."""
    rows = affine(plan, rows, f"layers.{layer - 1}.output_norm" if layer else "embeddings")
    return plan.add(
        "encoder_layer", (rows, mask), shape=plan[rows].shape,
        weights={role: f"layers.{layer}.{role}" for role in _layer_roles(options)},
        layer=layer, heads=spec.num_attention_heads, head_dim=spec.head_dim, intermediate=spec.intermediate_size,
        act=options.activation or spec.hidden_act, harmonics=options.activation_harmonics,
        attention_eps=spec.layer_norm_eps, output_eps=spec.layer_norm_eps,
        attention=options.attention, features=options.features_of(layer), variant=options.rfa_variant,
        floor=options.rfa_floor,
    )  # fmt: skip


def _layer_roles(options: GenOptions) -> list[str]:
    folded = options.attention == "rfa" and options.rfa_variant != "paper"
    dense = [f"{FOLDED[options.rfa_variant]}_{which}" for which in ("query", "key")] if folded else ["q", "k"]
    dense += ["log_sum"] if options.attention == "softmax" else []
    dense += ["v", "o", "ffn_in", "ffn_out"]
    roles = [f"{name}.{part}" for name in dense for part in ("weight", "bias")]
    roles += ["attention_norm.gamma", "attention_norm.beta"]
    return roles if folded or options.attention == "softmax" else [*roles, "features"]


class Shots(NamedTuple):
    """Labelled examples that take part in a head: the row whose means per label are kept, these means, and what a
    candidate says of them."""

    row: int
    means: int
    numbers: int


def _head(plan: Plan, spec: ModelSpec, options: GenOptions, row: int) -> tuple[int, Shots | None]:
    """Logits; and, where shots take part in them, what is kept of these."""
    head, most = spec.head, options.prototype_shots or 0.0
    shape = (head.num_labels, spec.hidden_size)
    if head.kind == "prototypes":
        texts, temperature = {"prototypes": "head.prototypes"}, options.temperature
        if not most:
            logits = plan.add(
                "cosine", (row,), shape=shape[:1], bound=temperature, weights=texts, temperature=temperature
            )
            return logits, None
        numbers, means = _shots(plan, most, shape, 1)
        made = plan.add("prototypes", (numbers, means), shape=shape, weights=texts, temperature=temperature, most=most)
        logits = plan.add("cosine", (row, made), shape=shape[:1], bound=temperature, temperature=temperature)
        return logits, Shots(row, means, numbers)
    if head.dense_act:
        row = _dense(plan, row, spec.hidden_size, "head.dense", head.dense_act)
    if head.norm:
        row = plan.add("normalize", (row,), shape=plan[row].shape, eps=spec.layer_norm_eps)
        row = affine(plan, row, "head.norm")
    if not most:
        return _dense(plan, row, head.num_labels, "head.out", "none"), None
    (normalised,) = plan[row].inputs
    numbers, means = _shots(plan, most, shape, 2)
    logits = plan.add(
        "label_words", (row, normalised, numbers, means), shape=shape[:1],
        weights={p: f"head.out.{p}" for p in ("weight", "bias")} | plan[row].weights,
        temperature=options.temperature, most=most,
    )  # fmt: skip
    return logits, Shots(normalised, means, numbers)


def _shots(plan: Plan, most: float, shape: tuple[int, ...], numbers: int) -> tuple[int, int]:
    """What a candidate says of the shots, and their means: each label's mean of rows of unit length."""
    bound = max(1.0, most)  # in a step that keeps means, the first number is how much of a set's
    given = plan.add(
        "candidate", shape=(numbers,), stage=Stage.CANDIDATE, visibility=Visibility.DATA, name="shots", bound=bound
    )
    return given, plan.add("kept", shape=shape, visibility=Visibility.SECRET, bound=1.0, name=CLASS_MEANS)


def _dense(plan: Plan, x: int, size: int, name: str, act: str) -> int:
    return plan.add("dense", (x,), shape=(size,), weights={p: f"{name}.{p}" for p in ("weight", "bias")}, act=act)
