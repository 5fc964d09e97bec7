"""Encoder layers, weights and input secret, on the embedded VM: one layer, or a whole forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.build import build_encoder
from secfwt.codegen.plan.graph import Plan, Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.runtime.embedded.processes import LocalParties

from performance.models import (
    FEATURES,
    FITTED_ROWS,
    EncoderSize,
    RandomWeights,
    model_spec,
    model_weights,
    normalised_rows,
)
from performance.service import Parties, lowered, run_steps, running
from rows import Row, measured


def encoder_plan(
    shape: EncoderSize, tokens: int, layers: int, features: int = FEATURES, attention: str = "rfa"
) -> Plan:
    """Rows in, layers, normalised rows out; the rows count as a candidate so that one step is one forward pass."""
    source = build_encoder(model_spec(shape), encoder_options(tokens, features, attention), layers)
    plan = Plan(outputs=source.outputs)
    for v in source:
        rows = v.attrs.get("name") == "x"
        plan.add(
            "candidate" if rows else v.kind,
            v.inputs,
            shape=v.shape,
            stage=Stage.CANDIDATE if rows else None if v.inputs else v.stage,
            visibility=v.visibility,
            bound=v.bound,
            weights=v.weights,
            **v.attrs,
        )
    return plan


def encoder_options(tokens: int, features: int, attention: str = "rfa") -> GenOptions:
    """An encoder without prompt; softmax attention has 0 features."""
    return GenOptions(sequence_length=tokens, n_prompt_tokens=0, rfa_features=features or FEATURES, attention=attention)


def layer_inputs(shape: EncoderSize, tokens: int, examples: int = 1, seed: int = 1) -> dict[str, np.ndarray]:
    """Rows of examples, the same for every engine, none of them padding; one example is measured."""
    rng = np.random.default_rng(seed)
    return {"x": normalised_rows((examples, tokens, shape.hidden), rng), "mask": np.ones((1, tokens))}


@dataclass(frozen=True)
class LayerTask:
    """The layer that the embedded VM measures, for other engines; or the same with softmax attention."""

    shape: EncoderSize
    attention: str
    inputs: dict[str, np.ndarray]
    """Rows `x` `[tokens, hidden]`, weights by their names without the layer's number, matrices `[out, in]`."""
    clear: np.ndarray
    """What float64 makes of them, `[tokens, hidden]`."""


def layer_task(shape: EncoderSize, tokens: int, attention: str) -> LayerTask:
    """One layer; layers of either attention have the same weights but for their attention's own."""
    plan = encoder_plan(shape, tokens, 1, FEATURES, attention)
    weights = RandomWeights(shape, encoder_options(tokens, FEATURES), plan)
    inputs = layer_inputs(shape, tokens)
    clear = run_plan(plan, weights, inputs)["rows"].reshape(tokens, shape.hidden)
    given = {name.removeprefix("layers.0."): values for name, values in weights.items()}
    return LayerTask(shape, attention, {**given, "x": inputs["x"][0]}, clear)


def measure(
    shape: EncoderSize, tokens: int, layers: int, attention: str, features: int, runs: int, threads: int,
    parties: Parties = LocalParties,
) -> Row:  # fmt: skip
    """One row: a cold step, then `runs`."""
    plan = encoder_plan(shape, tokens, layers, features, attention)
    others = layer_inputs(shape, tokens, -(-FITTED_ROWS // tokens), seed=2)
    weights = model_weights(shape, encoder_options(tokens, features, attention), plan, others)
    inputs = layer_inputs(shape, tokens)
    clear = run_plan(plan, weights, inputs)["rows"].reshape(tokens, shape.hidden)
    program = lowered(plan, weights, inputs)
    with running(program, weights, threads, parties) as client:
        steps = run_steps(client, program.ring, inputs, clear, 1, 1, runs + 1)
    return measured(
        benchmark="layer" if layers == 1 else "forward",
        **steps,
        attention=attention,
        shape=str(shape),
        layers=layers,
        tokens=tokens,
        features=features,
        threads=threads,
    )
