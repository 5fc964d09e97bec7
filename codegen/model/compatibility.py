"""Whether options fit a model."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace

from ..commandline.problems import Problem, Report
from .options import GenOptions
from .spec import ModelSpec

SPECIAL = 2
"""Tokens of an empty text."""
PROTOTYPE_SHOTS = 4.0
"""Most weight of shots where nothing is said (docs/accuracy.md)."""
SHOT_HEADS = ("prototypes", "masked_lm", "causal_lm")
"""Heads that shots take part in."""
BARE = re.compile(r"[\W\d_]+|true|false|label[ _-]?\d+", re.IGNORECASE)
"""A label text without a word in it that says what is meant."""


def check_fit(spec: ModelSpec, options: GenOptions) -> None:
    """Raise `ProblemsFound` with everything in `options` that this model cannot do."""
    report = Report()
    room, others = spec.max_positions - spec.position_offset, _other_rows(spec, options)
    if options.sequence_length > (fits := text_room(spec, options)):
        also = "".join(f", {name} takes {rows} more" for name, rows in others.items() if rows)
        report.error(
            f"--sequence-length is {options.sequence_length}{also}, the model has positions for {room} tokens",
            f"Accepted with these: up to {fits}." if spec.causal else
            f"{spec.max_positions} position embeddings, the first token's is number {spec.position_offset}.",
        )  # fmt: skip
    if options.chat and not spec.causal:
        report.error("--chat is given, the model is an encoder", "Decoders have chat templates.")
    if options.prompt_at == "template" and not spec.causal:
        report.error("--prompt-at is template, the model is an encoder", "Accepted: end, behind row 0; start.")
    if "{label}" in options.template and spec.head.kind not in ("causal_lm", "tokens"):
        report.error(
            f"--template is {options.template!r}, the head is {spec.head.kind}",
            "It must hold {mask} where the label word stands." if spec.head.kind == "masked_lm" else
            "No label word stands behind a text: leave {label} out, or give a decoder --label-words.",
        )  # fmt: skip
    if options.prototype_shots and spec.head.kind not in SHOT_HEADS:
        report.error(
            f"--prototype-shots is {options.prototype_shots:g}, the head is {spec.head.kind}",
            "Shots take part in label texts and label words: give --head prototypes and label texts, or 0.",
        )
    if spec.causal:
        _check_decoder(spec, options, report)
    elif options.n_prompt_tokens > room - SPECIAL:
        report.error(
            f"--n-prompt-tokens is {options.n_prompt_tokens}, the model has positions for {room} tokens",
            f"Accepted: 0 to {room - SPECIAL}: the first prompt is made of separators at positions of their own.",
        )
    if options.prompt_at == "start" and not spec.causal:
        _check_start(spec, options, report)
    if options.frozen_layers >= spec.num_hidden_layers:
        report.error(
            f"--frozen-layers is {options.frozen_layers}, the model has {spec.num_hidden_layers} layers",
            f"Accepted: 0 to {spec.num_hidden_layers - 1}.",
        )
    if options.rfa_layer_features and len(options.rfa_layer_features) != spec.num_hidden_layers:
        report.error(
            f"the adapter has features for {len(options.rfa_layer_features)} layers, "
            f"the model has {spec.num_hidden_layers} layers",
            "Give the adapter that was made for this model.",
        )
    if options.prompt_layer >= spec.num_hidden_layers:
        report.error(
            f"--prompt-layer is {options.prompt_layer}, the model has {spec.num_hidden_layers} layers",
            f"Accepted: 0 to {spec.num_hidden_layers - 1}.",
        )
    report.check()


def choose_shots(spec: ModelSpec, options: GenOptions, kept: bool) -> GenOptions:
    """The options with `prototype_shots` decided: `PROTOTYPE_SHOTS` for label texts and label words where the engine
    has something `kept` from step to step. A prompt at the start is meant for PEFT, which has no shots. With noise on
    losses a shot must not take part in every example's."""
    if options.prototype_shots is not None:
        return options
    serves = kept and spec.head.kind in SHOT_HEADS and options.prompt_at != "start" and not options.noise
    return replace(options, prototype_shots=PROTOTYPE_SHOTS if serves else 0.0)


def text_room(spec: ModelSpec, options: GenOptions) -> int:
    """Tokens of a text that the model has positions for, special ones and the template included."""
    return spec.max_positions - spec.position_offset - sum(_other_rows(spec, options).values())


def _other_rows(spec: ModelSpec, options: GenOptions) -> dict[str, int]:
    """Rows with positions that are not the text's, by what they are for."""
    if not spec.causal:
        return {"--prompt-at start": options.rows_before}
    behind = options.remembered_rows if spec.head.kind == "tokens" else 0
    return {"the first token": 1, "--n-prompt-tokens": options.own_rows, "--max-new-tokens with --step-rows": behind}


def _check_start(spec: ModelSpec, options: GenOptions, report: Report) -> None:
    header = "--prompt-at is start"
    if spec.head.rows == "first":
        report.error(f"{header}, the head reads the first row", "That would be the prompt's: leave --prompt-at out.")
    if options.prompt_layer or options.deep:
        given = "--deep is given" if options.deep else f"--prompt-layer is {options.prompt_layer}"
        report.error(f"{header}, {given}", "PEFT's prompts enter at layer 0, and there alone.")


def _check_decoder(spec: ModelSpec, options: GenOptions, report: Report) -> None:
    if options.attention == "rfa" and options.rfa_variant != "relu2":
        report.error(
            f"--attention is rfa with --rfa {options.rfa_variant}, the model is a decoder",
            "Accepted: softmax, or --rfa relu2 (sharp heads are beyond cosines and sines).",
        )
    if options.deep:
        report.error("--deep is given, the model is a decoder", "A decoder has a prompt in one layer.")


def bare_label_texts(texts: Sequence[str], labels: Sequence[str] = ()) -> list[Problem]:
    """A warning where label texts say nothing that a sentence encoder could tell apart; its example is for the
    `labels` that these texts are of."""
    bare = [text for text in texts if BARE.fullmatch(text)]
    if not bare:
        return []
    shown = ", ".join(repr(text) for text in bare[:8])
    said = " ".join(shlex.quote(f"{label}=what {label} means") for label in labels[:3]) + " …" * (len(labels) > 3)
    return [
        Problem(
            "warning", f"label texts are {shown}: examples are compared with the embeddings of these texts",
            f"Say what the labels mean in words, a text for each: --label-text {said}" if labels else
            "Say what the labels mean: secfwt-gen --label-texts 'what a means|what b means'.",
        )
    ]  # fmt: skip
