"""One generation of a tuning run: all candidates × all examples in one step, staged and, for comparison, unstaged.

Unstaged: the same program with every value that depends on an example computed for every pair of candidate and example,
as a system without stages would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Plan
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.unstaged import unstaged

from performance.models import FEATURES, FITTED_ROWS, EncoderSize, model_spec, model_weights, normalised_rows
from performance.service import lowered, run_steps, running
from rows import Row, measured


@dataclass(frozen=True)
class Generation:
    """What one generation evaluates; `features`: random features per head, 0 with softmax attention."""

    shape: EncoderSize
    prompt_layer: int
    candidates: int
    examples: int
    tokens: int
    features: int = FEATURES
    attention: str = "rfa"
    prompt_rows: int = 4
    intrinsic_dim: int = 64


def generation_options(size: Generation) -> GenOptions:
    """What the program of a generation is made from."""
    return GenOptions(
        sequence_length=size.tokens,
        n_prompt_tokens=size.prompt_rows,
        prompt_layer=size.prompt_layer,
        intrinsic_dim=size.intrinsic_dim,
        popsize=size.candidates,
        rfa_features=size.features or FEATURES,
        attention=size.attention,
        temperature=10.0,
    )


def in_the_clear(size: Generation) -> tuple[Plan, dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """A step's plan, random weights and inputs, and its losses by the float32 oracle."""
    chosen = generation_options(size)
    plan = build_plan(model_spec(size.shape), chosen)
    others = replace(size, candidates=1, examples=-(-FITTED_ROWS // size.tokens))
    weights = model_weights(size.shape, chosen, plan, generation_inputs(others, seed=2))
    inputs = generation_inputs(size)
    return plan, weights, inputs, run_plan(plan, weights, inputs, dtype=np.float32)["loss"]


def measure(size: Generation, staged: bool, runs: int, threads: int, think: int = 0) -> Row:
    """One row: steps over all candidates and examples, the cold one first; the only one when `runs` is 0.

    `think`: seconds between steps that the data owner is busy with something else.
    """
    plan, weights, inputs, clear = in_the_clear(size)
    program = lowered(plan, weights, {name: values[:2] for name, values in inputs.items()})
    if not staged:
        program = replace(program, ring=unstaged(program.ring))
    with running(program, weights, threads) as client:
        steps = run_steps(client, program.ring, inputs, clear, size.examples, size.candidates, runs + 1, think)
    return measured(
        benchmark="generation" + ("" if staged else ", unstaged") + (f", after {think} s each" if think else ""),
        **steps,
        attention=size.attention,
        shape=str(size.shape),
        layers=size.shape.layers,
        prompt_layer=size.prompt_layer,
        tokens=size.tokens,
        features=size.features,
        candidates=size.candidates,
        examples=size.examples,
        threads=threads,
    )


def generation_inputs(size: Generation, seed: int = 1) -> dict[str, np.ndarray]:
    """Examples without padding, equally weighted, pooled or with a mask as last token; candidates from a unit normal
    distribution."""
    rng = np.random.default_rng(seed)
    count, labels = size.examples, size.shape.head.num_labels
    read = np.full(size.tokens, 1 / size.tokens) if size.shape.head.rows == "mean" else np.eye(size.tokens)[-1]
    return {
        "x": normalised_rows((count, size.tokens, size.shape.hidden), rng),
        "mask": np.ones((count, size.tokens)),
        "select": np.tile(read, (count, 1)),
        "labels": np.eye(labels)[rng.integers(labels, size=count)],
        "example_weight": np.full((count, 1), 1 / count),
        "z": rng.normal(size=(size.candidates, size.intrinsic_dim)),
    }


def times_cheaper(staged: Row, other: Row) -> tuple[float, float]:
    """Seconds and bytes a pair, unstaged over staged: the unstaged row may have fewer pairs."""
    pairs = staged.candidates * staged.examples / (other.candidates * other.examples)
    return pairs * other.seconds / staged.seconds, pairs * other.megabytes / staged.megabytes
