"""Model plans of a toy with three layers of 16, with weights and inputs for the float oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from secfwt.codegen.model.features import add_features
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.model.weights import checkpoint_shapes, derived_shapes
from secfwt.codegen.plan.graph import Plan

HEADS = {
    "classification": HeadSpec("classification", "first", ("a", "b", "c"), dense_act="tanh"),
    "masked_lm": HeadSpec("masked_lm", "select", ("a", "b"), dense_act="gelu", norm=True),
    "prototypes": HeadSpec("prototypes", "mean", ("a", "b", "c", "d")),
}
SMALL: dict[str, Any] = {"sequence_length": 7, "n_prompt_tokens": 2, "intrinsic_dim": 5, "rfa_features": 6}


def model(head: str) -> ModelSpec:
    return ModelSpec("bert", 16, 3, 4, 24, "gelu", 1e-12, 50, 20, 0, 2, 0, HEADS[head])


def weights_for(spec: ModelSpec, options: GenOptions) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = checkpoint_shapes(spec) | derived_shapes(spec, options)
    weights = {name: rng.standard_normal(shape) * 0.3 + name.endswith("gamma") for name, shape in shapes.items()}
    return add_features(weights, spec, options) if options.attention == "rfa" else weights


def inputs_for(plan: Plan, candidates: int, examples: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    counts = {"example": examples, "candidate": candidates}
    inputs = {
        v.attrs["name"]: rng.standard_normal((counts[kind], *v.shape)) for kind in counts for v in plan.inputs(kind)
    }
    inputs["mask"] = (np.arange(7) < rng.integers(2, 8, size=(examples, 1))).astype(float)
    if "select" in inputs:  # no head reads padding
        inputs["select"] *= inputs["mask"]
    if "labels" in inputs:  # a plan without losses has none
        inputs["labels"] = np.eye(inputs["labels"].shape[1])[rng.integers(inputs["labels"].shape[1], size=examples)]
    return inputs
