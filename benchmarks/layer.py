#!/usr/bin/env python
"""Encoder layers, weights and input secret: the embedded VM with three local parties over TLS.

python benchmarks/layer.py [--shape minilm] [--tokens 128] [--layers 1|0=all] [--runs 7] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
from math import sqrt

import numpy as np
import rows
from models import FEATURES, SHAPES, Shape, normalised_rows, random_weights
from secfwt.codegen.oracle_float import run_plan
from secfwt.codegen.plan import Output, Plan, Stage, Visibility
from secfwt.runtime.sharing import decode
from service import compiled, running, words

DENSE = ("phase_query", "phase_key", "v", "o", "ffn_in", "ffn_out")
ROLES = [f"{n}.{p}" for n in DENSE for p in ("weight", "bias")] + ["attention_norm.gamma", "attention_norm.beta"]


def encoder_plan(shape: Shape, tokens: int, layers: int) -> Plan:
    """Rows in, layers, normalised rows out; the rows count as a candidate so that one step is one forward pass."""
    plan = Plan()
    size = (tokens, shape.hidden)
    x = plan.add(
        "candidate",
        shape=size,
        stage=Stage.CANDIDATE,
        visibility=Visibility.DATA,
        bound=sqrt(shape.hidden),
        name="x",
    )
    mask = plan.add("example", shape=(tokens,), stage=Stage.EXAMPLE, visibility=Visibility.DATA, bound=1.0, name="mask")
    for i in range(layers):
        norm = f"layers.{i - 1}.output_norm" if i else "embeddings"
        full = plan.add("affine", (x,), shape=size, weights={p: f"{norm}.{p}" for p in ("gamma", "beta")})
        x = plan.add(
            "encoder_layer",
            (full, mask),
            shape=size,
            weights={role: f"layers.{i}.{role}" for role in ROLES},
            layer=i,
            heads=shape.heads,
            head_dim=shape.hidden // shape.heads,
            intermediate=shape.inner,
            act="gelu",
            attention_eps=1e-12,
            output_eps=1e-12,
            attention="rfa",
            features=FEATURES,
            variant="folded",
            floor=0.02,
        )
    plan.outputs.append(Output("rows", x))
    return plan


def measure(name: str, tokens: int, layers: int, runs: int, threads: int) -> rows.Row:
    """One row: the first step is not counted."""
    shape = SHAPES[name]
    layers = layers or shape.layers
    rng = np.random.default_rng(1)
    plan = encoder_plan(shape, tokens, layers)
    weights = random_weights(plan, shape, rng)
    inputs = {"x": normalised_rows((1, tokens, shape.hidden), rng), "mask": np.ones((1, tokens))}
    clear = run_plan(plan, weights, inputs)["rows"].reshape(tokens, shape.hidden)
    program, ring = compiled(plan, weights, inputs)
    with running(program, ring, weights, threads) as client:
        client.send_examples(0, 1, words(ring, "example", inputs))
        seconds = []
        for _ in range(runs + 1):
            before = client.cost.seconds, client.cost.bytes_sent, client.cost.rounds
            result = client.step(0, 1, 0, words(ring, "candidate", inputs))
            seconds.append(client.cost.seconds - before[0])
        sent, rounds = client.cost.bytes_sent - before[1], client.cost.rounds - before[2]
        peak = client.cost.peak_bytes
    error = decode(result, 16).reshape(clear.shape) - clear
    return rows.Row(
        benchmark="layer" if layers == 1 else "forward",
        engine="embedded",
        protocol="replicated ring, semi-honest",
        parties=3,
        shape=f"{shape} x{layers}",
        tokens=tokens,
        seconds=statistics.median(seconds[1:]),
        seconds_min=min(seconds[1:]),
        seconds_max=max(seconds[1:]),
        runs=runs,
        megabytes=sent / 1e6,
        rounds=rounds,
        max_error=float(np.abs(error).max()),
        rms_error=float(np.sqrt(np.mean(error**2))),
        peak_memory_mb=peak / 1e6,
        threads=threads,
        commit=rows.commit(),
        command=rows.command(),
    )


def main() -> None:
    """Measure, print, append rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    parser.add_argument("--tokens", type=int, action="append")
    parser.add_argument("--layers", type=int, default=1, help="0: as many as the model has")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="print only, add no row")
    options = parser.parse_args()
    measured = []
    for name in options.shape or ["minilm", "bert-base"]:
        for tokens in options.tokens or [128]:
            measured.append(measure(name, tokens, options.layers, options.runs, options.threads))
            print(measured[-1])
    if not options.dry:
        print(f"rows added to {rows.write('layer', measured)}")


if __name__ == "__main__":
    main()
