"""Toy models straight from a ModelSpec and random weights, with calibrated ranges: input of the lowering's and the
VM's tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.owners.log_sum import log_sums
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Plan
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.encoding import encode
from secfwt.codegen.ring.program import RingProgram
from secfwt.codegen.series.ranges import Ranges

HIDDEN, LAYERS, HEADS, INNER, TOKENS, FEATURES, PROMPT, DIM = 32, 2, 4, 64, 12, 16, 3, 8
HEAD_SPECS = {
    "bert": HeadSpec("classification", "first", ("a", "b", "c"), dense_act="tanh"),
    "distilbert": HeadSpec("classification", "first", ("a", "b"), dense_act="relu"),
    "masked_lm": HeadSpec("masked_lm", "select", ("a", "b", "c", "d"), dense_act="gelu", norm=True),
    "prototypes": HeadSpec("prototypes", "mean", ("a", "b", "c", "d", "e"), None),
}


@dataclass
class Toy:
    """A toy's model plan, weights, inputs (reals), reference outputs and ring program (scheduled) with ring inputs."""

    plan: Plan
    weights: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]
    ring: RingProgram
    words: dict[str, np.ndarray]
    health: float | None = None
    """The limit on wrong rows, of a toy with `--health`."""
    clipped: tuple[float, float] | None = None
    """Between what losses lie, of a toy with noise."""


def toy(
    head: str = "bert",
    act: str = "gelu",
    variant: str = "folded",
    loss: str = "ce",
    *,
    prompt_layer: int = 1,
    examples: int = 3,
    candidates: int = 2,
    seed: int = 0,
    loud: float = 1.0,
    deep: bool = False,
    health: bool = False,
    prompt_at: str = "end",
    rounds: str = "default",
    shots: float = 0.0,
    noise: float = 0.0,
    clip_loss: float = 4.0,
    min_owners: int = 0,
) -> Toy:
    rng = np.random.default_rng(seed)
    spec = ModelSpec("bert", HIDDEN, LAYERS, HEADS, INNER, act, 1e-12, 100, 64, 0, 2, 0, HEAD_SPECS[head])  # type: ignore[arg-type]
    options = GenOptions(
        sequence_length=TOKENS,
        n_prompt_tokens=PROMPT,
        prompt_layer=prompt_layer,
        intrinsic_dim=DIM,
        rfa_features=FEATURES,
        deep=deep,
        prompt_at=prompt_at,  # type: ignore[arg-type]
        health=health,
        min_owners=min_owners,
        rounds=rounds,  # type: ignore[arg-type]
        prototype_shots=shots,
        noise=noise,
        clip_loss=clip_loss,
        rfa_variant="folded" if variant == "softmax" else variant,  # type: ignore[arg-type]
        loss=loss,  # type: ignore[arg-type]
        attention="softmax" if variant == "softmax" else "rfa",
    )
    plan = build_plan(spec, options)
    names = sorted(name for v in plan for name in set(v.weights.values()) if ".log_sum." not in name)
    weights = {name: _random(rng, name, spec, loud) for name in dict.fromkeys(names)}
    inputs = _inputs(rng, spec, examples, candidates, plan.inputs("candidate")[0].size)
    for v in plan.inputs("kept"):
        inputs[v.attrs["name"]] = 0.5 * _random(rng, "head.prototypes", spec, loud)
        inputs["share"] = (labels := inputs["labels"]) @ (1 / np.maximum(1, labels.sum(0)))[:, None]
        (numbers,) = (v.shape for v in plan.inputs("candidate") if v.attrs["name"] == "shots")
        inputs["shots"] = np.linspace(0.0, shots, candidates)[:, None].repeat(*numbers, axis=1)
        inputs["shots"][:, 1:] = inputs["shots"][:, 1:] > 0
    if variant == "softmax":
        weights |= log_sums(plan, weights, [inputs])
    sites: dict[str, dict[str, float]] = {}

    def observe(site: str, values: np.ndarray) -> None:
        low, high = float(np.min(values)), float(np.max(values))
        if site in sites:
            low, high = min(low, sites[site]["min"]), max(high, sites[site]["max"])
        sites[site] = {"min": low, "max": high, "q0.0001": low, "q0.9999": high}

    reference = run_plan(plan, weights, inputs, observe=observe)
    lowered = lower(plan, weights, Ranges(sites))
    ring, words = lowered.ring, lowered.words(weights)
    for kind in ("kept", "example", "candidate"):
        words |= {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs(kind)}
    return Toy(plan, weights, inputs, reference, ring, words, lowered.health, lowered.clipped)


def _random(rng: np.random.Generator, name: str, spec: ModelSpec, loud: float) -> np.ndarray:
    if name.endswith("gamma"):
        return 1 + 0.1 * rng.normal(size=HIDDEN)
    if name.endswith("beta"):
        return 0.1 * rng.normal(size=HIDDEN)
    if name.startswith("prompt."):
        return rng.normal(size=(PROMPT, HIDDEN))
    if name.endswith(".features"):
        return rng.normal(size=(HEADS, FEATURES, HIDDEN // HEADS))
    if name == "head.prototypes":
        rows = rng.normal(size=(spec.head.num_labels, HIDDEN))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
    part = name.split(".")[-2]
    out = {
        "phase_query": HEADS * FEATURES,
        "phase_key": HEADS * FEATURES,
        "feature_query": HEADS * FEATURES,
        "feature_key": HEADS * FEATURES,
        "ffn_in": INNER,
        "out": spec.head.num_labels,
    }.get(part, HIDDEN)
    size = (out, INNER if part == "ffn_out" else HIDDEN) if name.endswith("weight") else (out,)
    return rng.normal(size=size) * (0.03 if "phase" in part else 0.06 if "feature" in part else 0.15 * loud)


def _inputs(
    rng: np.random.Generator, spec: ModelSpec, examples: int, candidates: int, z_size: int
) -> dict[str, np.ndarray]:
    x = rng.normal(size=(examples, TOKENS, HIDDEN))
    x -= x.mean(-1, keepdims=True)
    x /= x.std(-1, keepdims=True)
    lengths = rng.integers(6, TOKENS + 1, examples)
    mask = (np.arange(TOKENS) < lengths[:, None]).astype(np.float64)
    labels = np.eye(spec.head.num_labels)[rng.integers(0, spec.head.num_labels, examples)]
    inputs = {
        "x": x * mask[..., None],
        "mask": mask,
        "labels": labels,
        "example_weight": np.full((examples, 1), 1 / examples),
    }
    inputs["z"] = rng.normal(size=(candidates, z_size))
    if spec.head.rows == "select":
        inputs["select"] = np.eye(TOKENS)[rng.integers(1, 6, examples)]
    if spec.head.rows == "mean":
        inputs["select"] = mask / mask.sum(1, keepdims=True)
    return inputs
