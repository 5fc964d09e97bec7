"""Decoders of real models' shapes with random weights, on the embedded VM: a text's forward pass, or a pair of tuning.

    python benchmarks/run.py decoder --shape smollm2 --tokens 64
    python benchmarks/run.py decoder --shape gpt2 --tokens 32
    python benchmarks/run.py decoder --shape llama-7b --layers 1 --tokens 8
    python benchmarks/run.py decoder --shape smollm2 --tokens 64 --pair 3

A pass is all layers with softmax attention and the last norm, without a head: rows in, normalised rows out. The rows
count as a candidate, so that one step is one pass. A pair is one candidate's step on one example whose text is there
already: so many rows behind it in all layers, the head and the loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.build import build_encoder, build_plan
from secfwt.codegen.plan.decoder import final_norm
from secfwt.codegen.plan.graph import Output, Plan, Stage
from secfwt.codegen.plan.oracle import run_plan

from performance.models import DECODERS, FITTED_ROWS, DecoderSize, model_spec, model_weights, normalised_rows
from performance.service import lowered, run_steps, running
from performance.sweeps import at_least, record
from rows import Row, measured

DIM = 64
"""Of the searched vector."""


def main(options: argparse.Namespace) -> None:
    """Measure and record."""
    record(options.command, decoder_rows(options), options.dry)


def decoder_rows(options: argparse.Namespace) -> Iterator[Row]:
    """One row for every combination."""
    for name, tokens in product(options.shape, options.tokens):
        shape = DECODERS[name]
        shape = replace(shape, layers=options.layers or shape.layers)
        yield measure(shape, tokens, options.pair, options.runs, options.threads)


def measure(shape: DecoderSize, tokens: int, pair: int, runs: int, threads: int) -> Row:
    """A cold step, then `runs`; `pair`: rows behind the text of a tuning pair, 0 for a pass."""
    options = GenOptions(
        sequence_length=tokens,
        n_prompt_tokens=pair,
        intrinsic_dim=DIM,
        popsize=2,
        attention="softmax",
        prompt_at="end",
    )
    plan = build_plan(model_spec(shape), options) if pair else pass_plan(shape, options)
    others = decoder_inputs(shape, tokens, pair, -(-FITTED_ROWS // tokens), seed=2)
    weights = model_weights(shape, options, plan, others)
    inputs = decoder_inputs(shape, tokens, pair)
    clear = run_plan(plan, weights, inputs)["loss" if pair else "rows"]
    program = lowered(plan, weights, inputs)
    with running(program, weights, threads) as client:
        steps = run_steps(client, program.ring, inputs, np.ravel(clear), 1, 1, runs + 1)
    return measured(
        benchmark="decoder, a pair" if pair else "decoder",
        **steps,
        attention="softmax",
        shape=str(shape),
        layers=shape.layers,
        tokens=tokens,
        threads=threads,
    )


def pass_plan(shape: DecoderSize, options: GenOptions) -> Plan:
    """Rows of a text in, as a candidate, and normalised rows out; the empty row before them is not opened."""
    source = build_encoder(model_spec(shape), options, shape.layers)
    plan = Plan(meta=source.meta)
    for v in source:
        rows = v.attrs.get("name") == "x"
        plan.add(
            "candidate" if rows else v.kind, v.inputs, shape=v.shape,
            stage=Stage.CANDIDATE if rows else None if v.inputs else v.stage,
            visibility=v.visibility, bound=v.bound, weights=v.weights, **v.attrs,
        )  # fmt: skip
    rows, columns = plan[source.outputs[0].value].shape
    text = plan.add("slice_rows", (source.outputs[0].value,), shape=(rows - 1, columns), lo=1, hi=rows)
    plan.outputs.append(Output("rows", final_norm(plan, model_spec(shape), text)))
    return plan


def decoder_inputs(
    shape: DecoderSize, tokens: int, pair: int, examples: int = 1, seed: int = 1
) -> dict[str, np.ndarray]:
    """Random rows of unit size behind an empty one, none of them padding, centred as a data owner's are; a pair's
    labels and candidate too."""
    rng = np.random.default_rng(seed)
    rows, labels = 1 + tokens + pair, shape.head.num_labels
    x = normalised_rows((examples, rows, shape.hidden), rng)
    mask = np.ones((examples, rows))
    x[:, 0] = mask[:, 0] = 0
    return {
        "x": x, "mask": mask if pair else mask[:1], "labels": np.eye(labels)[rng.integers(labels, size=examples)],
        "example_weight": np.full((examples, 1), 1 / examples), "z": rng.normal(size=(1, DIM)),
    }  # fmt: skip


def add_options(parser: argparse.ArgumentParser, command: str) -> None:
    """What to measure."""
    parser.add_argument("--shape", nargs="+", choices=DECODERS, default=["smollm2"])
    parser.add_argument("--tokens", nargs="+", type=at_least(1), default=[64])
    parser.add_argument("--layers", type=at_least(0), default=0, help="0: as many as the model has")
    parser.add_argument("--pair", type=at_least(0), default=0, help="rows of a tuning pair behind the text; 0: a pass")
    parser.add_argument("--runs", type=at_least(0), default=5, help="after a cold one")
    parser.add_argument("--threads", type=at_least(1), default=1, help="of a party of ours")
    parser.add_argument("--dry", action="store_true", help="print only, add no row, draw nothing")
