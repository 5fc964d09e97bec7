"""docs/program.md lists every operation of the model plan with all its attributes and the roles of its weights."""

from __future__ import annotations

import re
from itertools import product
from typing import Any, get_args

from helpers.places import ROOT
from secfwt.codegen.model.compatibility import SHOT_HEADS
from secfwt.codegen.model.decoders.rope import Rope
from secfwt.codegen.model.options import GenOptions, Place
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.plan.build import build_plan

HEADS = [
    HeadSpec("classification", "first", ("a", "b"), dense_act="tanh"),
    HeadSpec("masked_lm", "select", ("a", "b"), dense_act="gelu", norm=True),
    HeadSpec("prototypes", "first", ("a", "b")),
    HeadSpec("prototypes", "mean", ("a", "b")),
]
CHOICES: list[dict[str, Any]] = [
    {}, {"deep": True}, {"n_prompt_tokens": 0}, {"attention": "softmax"}, {"rfa_variant": "paper"}, {"loss": "hinge"},
    {"rfa_variant": "relu2"},
    {"frozen_layers": 1, "prompt_layer": 1}, {"weights": "public", "prompt_layer": 1}, {"activation": "relu"},
    {"health": True}, {"noise": 0.1},
]  # fmt: skip
DECODERS = [
    HeadSpec("causal_lm", "last", ("a", "b")), HeadSpec("prototypes", "mean", ("a", "b")),
    HeadSpec("tokens", "last", ()),
]  # fmt: skip
ALL_OF_A_LAYER = ("encoder_layer", "decoder_layer")
"""Their weights are listed elsewhere (`model/weights.py`)."""


def built() -> dict[str, tuple[set[str], set[str]]]:
    """Attributes and weights' roles by kind, of plans with every head and choice."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    plans = [
        build_plan(
            ModelSpec("bert", 16, 3, 4, 24, "gelu", 1e-12, 50, 40, 0, 2, 0, head),
            GenOptions(sequence_length=8, **choice),
        )
        for head, choice in product(HEADS, CHOICES)
    ]
    plans += [
        build_plan(
            ModelSpec("bert", 16, 3, 4, 24, "gelu", 1e-12, 50, 40, 0, 2, 0, head),
            GenOptions(sequence_length=8, prompt_at="start"),
        )
        for head in HEADS
        if head.rows != "first"
    ]
    plans += [
        build_plan(
            ModelSpec("llama", 16, 3, 4, 24, "silu", 1e-5, 50, 40, 0, 0, 0, head, causal=True, rope=Rope(1e4)),
            GenOptions(sequence_length=8, attention="softmax", prompt_at=place, max_new_tokens=4),
        )
        for head, place in product(DECODERS, get_args(Place))
    ]
    plans += [
        build_plan(
            ModelSpec("bert", 16, 3, 4, 24, "gelu", 1e-12, 50, 40, 0, 2, 0, head),
            GenOptions(sequence_length=8, prototype_shots=4.0),
        )
        for head in HEADS
        if head.kind in SHOT_HEADS
    ]
    for v in (v for plan in plans for v in plan):
        attrs, weights = found.setdefault(v.kind, (set(), set()))
        attrs.update(v.attrs)
        weights.update(() if v.kind in ALL_OF_A_LAYER else v.weights)
    return found


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """The same from the table below "Model plan: operations"."""
    page = (ROOT / "docs" / "program.md").read_text("utf-8")
    section = page.split("## Model plan: operations")[1].split("\n## ")[0]
    said: dict[str, tuple[set[str], set[str]]] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            kinds, _, attrs, weights, _ = (cell.strip() for cell in line.strip("|").split("|"))
            roles = (
                set()
                if any(kind in kinds for kind in ALL_OF_A_LAYER)
                else set(re.findall(r"\b[a-z]\w+", weights.split(" `")[0]))
            )
            for kind in re.findall(r"`(\w+)`", kinds):
                said[kind] = set(re.findall(r"\w+", " ".join(re.findall("`([^`]*)`", attrs)))), roles
    return said


def test_the_table_is_complete() -> None:
    assert documented() == built()
