"""Decoders on the real VM: kernels against numpy, toys of every family against the float oracle, compile times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.decoder_runs import DecoderRun, decoder_run
from helpers.mpspdz_local import configure, fixed, installation, run_kernels, toy_decoder_plan
from rich.console import Console
from secfwt.codegen.model.decoders.rope import Rope
from secfwt.codegen.mpspdz.decoders import speeds
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.mpspdz.text import render
from secfwt.runtime.engine import Batch
from secfwt.runtime.mpspdz.compiler import Compiled, compile_program
from secfwt.runtime.mpspdz.local import mpspdz_engine, options_for
from secfwt.runtime.progress import PlainDisplay

ROPE = Rope(100.0)
B, R, HEADS, D, FIRST = 2, 4, 2, 6, 5
KERNELS = f"""
from lib import activations, decoder, feed_forward, masked_opening, prompt, rotary
from lib.normalization import stream_norm, stream_numbers
from lib.tensor import numbers_in, public, rescale
x = get({B}, {R}, {HEADS}, {D})
turned = rotary.tables({speeds(ROPE, D)}, {FIRST}, {R})
out(rescale(rotary.rotated(x.get_vector().v * 2**16, turned, {HEADS}), rotary.scale_of(turned)))
rows, mask, offset = get({B}, {R}, {D}), get({B}, {R}), get({B}, 2, {D})
out(prompt.add_offset(rows, offset, at=1))
out(prompt.add_first(rows, mask, offset))
for far in 0, 1:
    reach = 5, 12, regint(public([[far]])[0][0])
    waves = feed_forward.bent(x.get_vector().v, lambda v, reach: activations.silu_wave(v, 16, reach=reach), reach=reach)
    out(rescale(waves.get_vector(), masked_opening.WAVE_BITS))
small, large = get({R}, 32), get({R}, 32)
numbers, top = stream_numbers([-4, 5], 1e-5)
table = public(numbers)
for i, each in enumerate((small, large)):
    out(stream_norm(each, numbers_in(table[i]), top, norm="layer" if i else "rms"))
"""


def test_kernels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, rows, offset = rng.normal(size=(B, R, HEADS, D)), rng.normal(size=(B, R, D)), rng.normal(size=(B, 2, D))
    mask = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
    small, large = rng.normal(size=(R, 32)) / 16, 3 + 30 * rng.normal(size=(R, 32))
    words = [fixed(each) for each in (x, rows, mask, offset, small, large)]
    got = run_kernels(tmp_path, configure() + KERNELS, words)
    cos, sin = (table[FIRST:, None] for table in ROPE.tables(FIRST + R, D))
    first, behind = rows.copy(), rows.copy()
    behind[:, 1:3] += offset
    first[0, 2:] += offset[0]
    first[1, 1:3] += offset[1]
    wanted = [
        (x * cos + np.roll(x, D // 2, axis=-1) * sin, 1e-4), (behind, 2**-15), (first, 2**-15),
        (x / (1 + np.exp(-x)), 5e-4), (x / (1 + np.exp(-x)), 5e-4),
        (small / np.sqrt(np.square(small).mean(axis=-1, keepdims=True) + 1e-5), 2e-3),
        ((large - large.mean(axis=-1, keepdims=True)) / large.std(axis=-1, keepdims=True), 2e-3),
    ]  # fmt: skip
    for want, tolerance in wanted:
        part, got = got[: want.size].reshape(want.shape), got[want.size :]
        np.testing.assert_allclose(part, want, atol=tolerance, rtol=0)
    assert not got.size


def follows_the_model(run: DecoderRun, protocol: Any, folder: Path) -> None:
    compiled, z = run.compiled, run.inputs["z"]
    assert compiled.weights is not None
    batch = Batch({v.attrs["name"]: run.inputs[v.attrs["name"]] for v in compiled.plan.inputs("example")})
    program, display = options_for(protocol, [len(batch)]), PlainDisplay(Console(quiet=True))
    with mpspdz_engine(compiled.plan, compiled.weights, program, folder, display) as engine:
        engine.load_examples("set", batch)
        losses, logits = engine.losses("set", z), engine.logits("set", z[0])
    np.testing.assert_allclose(losses, run.reference["loss"], atol=0.01)
    np.testing.assert_allclose(logits, run.reference["logits"][0], atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "family", "head", "options"),
    [
        ("ring", "gpt2", "causal_lm", {"prompt_at": "start"}),
        ("ring", "llama", "causal_lm", {}),
        ("ring", "mistral", "causal_lm", {"prompt_at": "template", "prompt_layer": 1}),
        ("ring", "qwen2", "classification", {"prompt_layer": 1}),
        ("dealer-ring", "qwen3", "prototypes", {"template": "{text} So it is"}),
        ("rep4-ring", "llama-linear", "causal_lm", {"prompt_at": "template"}),
    ],
)
def test_a_family_as_it_is(protocol: Any, family: str, head: str, options: dict[str, Any], tmp_path: Path) -> None:
    installation(protocol)
    follows_the_model(decoder_run(tmp_path / "model", family, head, **options), protocol, tmp_path)


TINY: dict[str, dict[str, int]] = {
    "llama": {
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 8,
    },
    "gpt2": {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_inner": 8},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", TINY)
def test_a_family_between_two_parties(family: str, tmp_path: Path) -> None:
    """Under semi2k, whose parties make all of their randomness alone: one text of four tokens takes 100 MB."""
    installation("semi2k")
    small = {"sequence_length": 4, "n_prompt_tokens": 1, "template": "{text} is"}
    run = decoder_run(tmp_path / "model", family, "causal_lm", texts=("bad",), sizes=TINY[family], **small)
    follows_the_model(run, "semi2k", tmp_path)


def compiled_toy(folder: Path, protocol: Any, **sizes: int) -> Compiled:
    plan = toy_decoder_plan(folder, "llama", sizes)
    source = folder / "program.mpc"
    options = MpSpdzOptions(protocol=protocol, examples=2, tile=2)
    source.write_text(render(plan, options, version="0.1.0", source_hash="-", command="-"))
    return compile_program(installation(), source, folder, protocol)


@pytest.mark.slow
def test_thirty_layers_compile_as_two_do(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir(), (tmp_path / "thirty").mkdir()
    two = compiled_toy(tmp_path / "two", "semi2k")
    thirty = compiled_toy(tmp_path / "thirty", "semi2k", num_hidden_layers=30)
    sizes = [
        sum(file.stat().st_size for file in (each.folder / "Programs" / "Bytecode").iterdir()) for each in (two, thirty)
    ]
    assert sizes[1] < 1.1 * sizes[0]
    assert thirty.seconds < 2 * max(two.seconds, 30)
