#!/usr/bin/env python
"""One encoder layer, weights and input secret: seconds, bytes, rounds and error of the embedded VM with three local
parties over TLS.

python benchmarks/layer.py [--shape minilm|bert-base] [--tokens 128] [--runs 7] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import rows
from secfwt.codegen.calibrated import Ranges
from secfwt.codegen.calibration import calibrate
from secfwt.codegen.emit import program_text
from secfwt.codegen.lower import lower
from secfwt.codegen.oracle_fixed import encode
from secfwt.codegen.oracle_float import run_plan
from secfwt.codegen.plan import Output, Plan, Stage, Visibility
from secfwt.codegen.program_text import read_program
from secfwt.codegen.schedule import schedule
from secfwt.runtime.certificates import make_certificates
from secfwt.runtime.client import Client
from secfwt.runtime.deployment import Deployment
from secfwt.runtime.party import LocalParties
from secfwt.runtime.sharing import decode
from secfwt.runtime.weights import share_weights


@dataclass(frozen=True)
class Shape:
    hidden: int
    heads: int
    inner: int


SHAPES = {"minilm": Shape(384, 12, 1536), "bert-base": Shape(768, 12, 3072), "roberta-large": Shape(1024, 16, 4096)}
FEATURES = 32


def layer_plan(shape: Shape, tokens: int) -> Plan:
    """Rows in, one layer, normalised rows out; the rows count as a candidate so that one step is one layer."""
    plan = Plan()
    bound = sqrt(shape.hidden)
    x = plan.add(
        "candidate",
        shape=(tokens, shape.hidden),
        stage=Stage.CANDIDATE,
        visibility=Visibility.DATA,
        bound=bound,
        name="x",
    )
    mask = plan.add("example", shape=(tokens,), stage=Stage.EXAMPLE, visibility=Visibility.DATA, bound=1.0, name="mask")
    full = plan.add(
        "affine", (x,), shape=(tokens, shape.hidden), weights={"gamma": "embeddings.gamma", "beta": "embeddings.beta"}
    )
    dense = ("phase_query", "phase_key", "v", "o", "ffn_in", "ffn_out")
    names = [f"{n}.{p}" for n in dense for p in ("weight", "bias")] + ["attention_norm.gamma", "attention_norm.beta"]
    out = plan.add(
        "encoder_layer",
        (full, mask),
        shape=(tokens, shape.hidden),
        weights={n: f"layers.0.{n}" for n in names},
        layer=0,
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
    plan.outputs.append(Output("rows", out))
    return plan


def random_weights(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights with the spread of a trained encoder's: pre-activations of about unit size, attention that is not
    uniform."""
    h, inner, width = shape.hidden, shape.inner, shape.heads * FEATURES
    sizes = {
        "phase_query": (width, h),
        "phase_key": (width, h),
        "v": (h, h),
        "o": (h, h),
        "ffn_in": (inner, h),
        "ffn_out": (h, inner),
    }
    spread = {"phase_query": 0.12, "phase_key": 0.12, "v": 1.0, "o": 1.0, "ffn_in": 1.5, "ffn_out": 1.0}
    weights = {}
    for name, (out, inside) in sizes.items():
        weights[f"layers.0.{name}.weight"] = rng.normal(size=(out, inside)) * spread[name] / sqrt(inside)
        weights[f"layers.0.{name}.bias"] = rng.normal(size=out) * 0.1 * spread[name]
    for norm in ("embeddings", "layers.0.attention_norm"):
        weights[f"{norm}.gamma"] = 1 + 0.1 * rng.normal(size=h)
        weights[f"{norm}.beta"] = 0.1 * rng.normal(size=h)
    return weights


def measure(name: str, tokens: int, runs: int, threads: int) -> rows.Row:
    shape = SHAPES[name]
    rng = np.random.default_rng(1)
    plan, weights = layer_plan(shape, tokens), random_weights(shape, rng)
    x = rng.normal(size=(1, tokens, shape.hidden))
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    inputs = {"x": x, "mask": np.ones((1, tokens))}
    clear = run_plan(plan, weights, inputs)["rows"].reshape(tokens, shape.hidden)
    program = lower(plan, weights, Ranges(calibrate(plan, weights, [inputs])))
    ring = schedule(program.plan)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        text = home / "program.txt"
        text.write_text(program_text(ring, program.fits))
        make_certificates(home / "certificates")
        deployment = Deployment.local(home / "certificates", threads=threads)
        with LocalParties(deployment, text, home / "logs"):
            share_weights(
                deployment,
                read_program(text),
                {f.name: encode(np.asarray(f.make(weights)), f.scale) for f in program.folds.values()},
            )
            client = Client(deployment, "data-owner", read_program(text).hash)
            client.send_examples(0, 1, encode(inputs["mask"], 0).ravel())
            words = encode(x, 16).ravel()
            seconds = []
            for _ in range(runs + 1):
                before = client.cost.seconds, client.cost.bytes_sent, client.cost.rounds
                result = client.step(0, 1, 0, words.copy())
                seconds.append(client.cost.seconds - before[0])
            sent, rounds = client.cost.bytes_sent - before[1], client.cost.rounds - before[2]
            peak = client.cost.peak_bytes
            client.stop()
    error = decode(result, 16).reshape(clear.shape) - clear
    return rows.Row(
        "layer",
        "embedded",
        "replicated ring, semi-honest",
        3,
        f"{shape.hidden}/{shape.heads}/{shape.inner}",
        tokens,
        statistics.median(seconds[1:]),
        min(seconds[1:]),
        max(seconds[1:]),
        runs,
        sent / 1e6,
        rounds,
        float(np.abs(error).max()),
        float(np.sqrt(np.mean(error**2))),
        peak / 1e6,
        threads,
        rows.commit(),
        rows.command(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="print only, add no row")
    options = parser.parse_args()
    measured = [
        measure(name, options.tokens, options.runs, options.threads)
        for name in options.shape or ["minilm", "bert-base"]
    ]
    for row in measured:
        print(
            f"{row.shape} {row.tokens} tokens: {row.seconds:.3f} s ({row.seconds_min:.3f}-{row.seconds_max:.3f}), "
            f"{row.megabytes:.1f} MB, {row.rounds} rounds, max error {row.max_error:.2g}, rms {row.rms_error:.2g}, "
            f"{row.peak_memory_mb:.0f} MB a party"
        )
    if not options.dry:
        print(f"rows added to {rows.write('layer', measured)}")


if __name__ == "__main__":
    main()
