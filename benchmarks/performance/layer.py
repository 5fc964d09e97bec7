"""Encoder layers, weights and input secret, on the embedded VM: one layer, or a whole forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.build import build_encoder
from secfwt.codegen.plan.graph import Plan, Stage
from secfwt.codegen.plan.oracle import run_plan

from performance.models import FEATURES, EncoderSize, RandomWeights, model_spec, normalised_rows
from performance.service import lowered, run_steps, running
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
    """An encoder without prompt."""
    return GenOptions(sequence_length=tokens, n_prompt_tokens=0, rfa_features=features, attention=attention)


def layer_inputs(shape: EncoderSize, tokens: int) -> dict[str, np.ndarray]:
    """One example's rows, the same for every engine, none of them padding."""
    rng = np.random.default_rng(1)
    return {"x": normalised_rows((1, tokens, shape.hidden), rng), "mask": np.ones((1, tokens))}


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


def measure(shape: EncoderSize, tokens: int, layers: int, features: int, runs: int, threads: int) -> Row:
    """One row: a cold step, then `runs`."""
    plan = encoder_plan(shape, tokens, layers, features)
    weights = RandomWeights(shape, encoder_options(tokens, features), plan)
    inputs = layer_inputs(shape, tokens)
    clear = run_plan(plan, weights, inputs)["rows"].reshape(tokens, shape.hidden)
    program = lowered(plan, weights, inputs)
    with running(program, weights, threads) as client:
        steps = run_steps(client, program.ring, inputs, clear, 1, 1, runs + 1)
    return measured(
        benchmark="layer" if layers == 1 else "forward",
        **steps,
        shape=str(shape),
        layers=layers,
        tokens=tokens,
        features=features,
        threads=threads,
    )
