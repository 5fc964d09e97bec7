#!/usr/bin/env python
"""One generation of a tuning run: all candidates × all examples in one step, staged and, for comparison, unstaged.

    python benchmarks/generation.py [--shape minilm] [--prompt-layer 4] [--popsize 20] [--examples 32] [--tokens 64]

Unstaged: the same program with every value that depends on an example computed for every pair of candidate and example,
as a system without stages would.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import reduce
from operator import or_

import numpy as np
import rows
from models import FEATURES, LABELS, SHAPES, model_spec, normalised_rows, random_weights
from secfwt.codegen.build import build_plan
from secfwt.codegen.options import GenOptions
from secfwt.codegen.oracle_float import run_plan
from secfwt.codegen.plan import Plan, Value
from secfwt.codegen.schedule import schedule
from secfwt.runtime.sharing import decode
from service import compiled, running, words


def unstaged(ring: Plan) -> Plan:
    """The same ring program with every example's input made a pair's, by adding zero times a candidate's coordinate."""
    result = Plan(meta=ring.meta)
    new: dict[int, int] = {}

    def put(v: Value, inputs: tuple[int, ...], **changes: object) -> int:
        stage = v.stage
        if inputs and v.kind != "reduce_examples":
            stage = reduce(or_, (result[i].stage for i in inputs))
        attrs = {k: x for k, x in v.attrs.items() if k != "group"}
        value = replace(v, **{"attrs": attrs, **changes, "id": len(result.values), "inputs": inputs, "stage": stage})
        result.values.append(value)
        return value.id

    for v in ring:
        if not v.inputs:
            new[v.id] = put(v, ())
    (z,) = result.inputs("candidate")
    one = put(z, (z.id,), kind="slice", shape=(1,), attrs={"axis": -1, "lo": 0, "hi": 1})
    for v in ring.inputs("example"):
        zero = put(v, (one,), kind="scale", shape=(1,), attrs={"by": 0})
        new[v.id] = put(v, (new[v.id], zero), kind="add", attrs={})
    for v in ring:
        if v.inputs:
            new[v.id] = put(v, tuple(new[i] for i in v.inputs))
    result.outputs = [replace(o, value=new[o.value]) for o in ring.outputs]
    return schedule(result)


def measure(options: argparse.Namespace, staged: bool) -> rows.Row:
    """One row: a step over all candidates and examples."""
    shape = SHAPES[options.shape]
    rng = np.random.default_rng(1)
    chosen = GenOptions(
        sequence_length=options.tokens,
        prompt_layer=options.prompt_layer,
        popsize=options.popsize,
        rfa_features=FEATURES,
        temperature=10.0,
    )
    plan = build_plan(model_spec(shape), chosen)
    weights = random_weights(plan, shape, rng)
    count = options.examples
    inputs = {
        "x": normalised_rows((count, options.tokens, shape.hidden), rng),
        "mask": np.ones((count, options.tokens)),
        "select": np.full((count, options.tokens), 1 / options.tokens),
        "labels": np.eye(len(LABELS))[rng.integers(len(LABELS), size=count)],
        "example_weight": np.full((count, 1), 1 / count),
        "z": rng.normal(size=(options.popsize, chosen.intrinsic_dim)),
    }
    few = {name: values[:2] for name, values in inputs.items()}
    clear = run_plan(plan, weights, inputs, dtype=np.float32)["loss"]
    program, ring = compiled(plan, weights, few)
    if not staged:
        ring = unstaged(ring)
    with running(program, ring, weights, options.threads) as client:
        client.send_examples(0, count, words(ring, "example", inputs))
        seconds = []
        for _ in range(options.runs):
            before = client.cost.seconds, client.cost.bytes_sent, client.cost.rounds
            result = client.step(0, options.popsize, 0, words(ring, "candidate", inputs))
            seconds.append(client.cost.seconds - before[0])
        sent, rounds = client.cost.bytes_sent - before[1], client.cost.rounds - before[2]
        peak = client.cost.peak_bytes
    error = decode(result, ring[ring.outputs[0].value].scale).reshape(clear.shape) - clear
    return rows.Row(
        benchmark="generation" if staged else "generation, unstaged",
        engine="embedded",
        protocol="replicated ring, semi-honest",
        parties=3,
        shape=f"{shape} x{shape.layers}, prompt at {options.prompt_layer}, {options.popsize} x {count}",
        tokens=options.tokens,
        seconds=float(np.median(seconds)),
        seconds_min=min(seconds),
        seconds_max=max(seconds),
        runs=options.runs,
        megabytes=sent / 1e6,
        rounds=rounds,
        max_error=float(np.abs(error).max()),
        rms_error=float(np.sqrt(np.mean(error**2))),
        peak_memory_mb=peak / 1e6,
        threads=options.threads,
        commit=rows.commit(),
        command=rows.command(),
    )


def main() -> None:
    """Measure both, print the ratio, append rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--prompt-layer", type=int, default=4)
    parser.add_argument("--popsize", type=int, default=20)
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-unstaged", action="store_true", help="only the staged program")
    parser.add_argument("--dry", action="store_true", help="print only, add no row")
    options = parser.parse_args()
    measured = [measure(options, staged=True)]
    print(measured[0])
    if not options.no_unstaged:
        measured.append(measure(options, staged=False))
        print(measured[1])
        print(f"staged is {measured[1].seconds / measured[0].seconds:.1f} times faster, ", end="")
        print(f"{measured[1].megabytes / measured[0].megabytes:.1f} times less traffic")
    if not options.dry:
        print(f"rows added to {rows.write('generation', measured)}")


if __name__ == "__main__":
    main()
