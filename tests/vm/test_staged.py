"""A staged and an unstaged program compute the same, and what the float oracle does: every family, head and mode."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toys import CONFIGS, HEAD_OPTIONS, save_sentence_transformer, save_toy
from secfwt.codegen.compile import Compiled, compile_model, encoded_weights
from secfwt.codegen.intervals import ACCEPTED
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.program import RingProgram
from secfwt.codegen.ring.text import program_text
from secfwt.codegen.ring.unstaged import unstaged

MODELS = [*product(CONFIGS, HEAD_OPTIONS), ("bert", "sentence mean"), ("bert", "sentence cls")]
MODES: dict[str, dict[str, Any]] = {
    "prompt at the input": {"prompt_layer": 0},
    "late prompt": {"prompt_layer": 1},
    "deep prompts": {"prompt_layer": 0, "deep": True},
    "frozen layer": {"prompt_layer": 1, "frozen_layers": 1},
    "public weights": {"prompt_layer": 1, "weights": "public"},
}
CHOICES = [*product(("ce", "hinge"), ("folded", "softmax", "paper", "relu2"), ("losses", "logits"))]
CASES = [
    # every mode meets every choice, and so does every head
    pytest.param(family, head, mode, *CHOICES[(m + 2 * n) % len(CHOICES)], id=f"{family}-{head}-{mode}")
    for (m, (family, head)), (n, mode) in product(enumerate(MODELS), enumerate(MODES))
]
TEXTS = ["a good film", "the news was very bad, it was", "sport"]
CANDIDATES = 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folders = {}
    for family, head in MODELS:
        folders[family, head] = folder = tmp_path_factory.mktemp(f"{family}-{head.replace(' ', '-')}")
        if head.startswith("sentence"):
            save_sentence_transformer(folder, family, head.removeprefix("sentence "))
        else:
            save_toy(folder, family, head)
    return folders


def compiled_toy(folder: Path, head: str, mode: str, loss: str, variant: str, reveal: str) -> Compiled:
    of_head = HEAD_OPTIONS["prototypes" if head.startswith("sentence") else head]
    attention = {"attention": "softmax"} if variant == "softmax" else {"rfa_variant": variant}
    options = GenOptions(
        sequence_length=12, n_prompt_tokens=2, intrinsic_dim=6, rfa_features=16, rfa_floor=0.2, loss=loss,
        reveal=reveal, **attention, **MODES[mode], **of_head,
    )  # fmt: skip
    return compile_model(folder, options, calibration=public_texts() if variant == "softmax" else None)


def public_texts() -> list[str]:
    """Of the toys' few words: what ships with the package is unknown words to them."""
    rng = np.random.default_rng(5)
    words = ["a", "good", "bad", "film", "the", "news", "was", "very", "it", "sport", ",", "."]
    return [" ".join(rng.choice(words, size=rng.integers(1, 10))) for _ in range(200)]


def inputs_of(compiled: Compiled) -> dict[str, np.ndarray]:
    assert compiled.embedder is not None
    labels = compiled.spec.head.labels
    inputs, _ = compiled.embedder.encode(TEXTS, [labels[i % len(labels)] for i in range(len(TEXTS))])
    z = np.random.default_rng(1).normal(size=(CANDIDATES, compiled.ring.inputs("candidate")[0].size))
    return {**inputs, "z": z}


def words_of(compiled: Compiled, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {v.attrs["name"]: v.scale for kind in ("example", "candidate") for v in compiled.ring.inputs(kind)}
    return encoded_weights(compiled) | {name: encode(inputs[name], scale) for name, scale in given.items()}


@pytest.mark.parametrize(("family", "head", "mode", "loss", "variant", "reveal"), CASES)
def test_staged_is_unstaged(
    models: dict[tuple[str, str], Path], family: str, head: str, mode: str, loss: str, variant: str, reveal: str
) -> None:
    compiled = compiled_toy(models[family, head], head, mode, loss, variant, reveal)
    inputs = inputs_of(compiled)
    words, reference = words_of(compiled, inputs), run_plan(compiled.plan, compiled.weights, inputs)
    whole = unstaged(compiled.ring)
    assert {v.stage for v in whole if v.inputs} <= {Stage.CANDIDATE, Stage.PAIR}
    staged, other = (run_program(ring, words) for ring in (compiled.ring, whole))
    assert compiled.ring.outputs[1].max_candidates == (1 if reveal == "losses" else None)
    for output in compiled.ring.outputs:
        assert np.array_equal(staged[output.name], other[output.name])
        got = decode(staged[output.name], compiled.ring[output.value].scale).reshape(reference[output.name].shape)
        spread = max(1.0, np.abs(reference[output.name]).max())
        # a toy's log-sum-exp spreads over ten units, and 32 numbers tell little of it: its rarest rows saturate, and
        # err by what compiling accepts on public text
        assert (
            np.abs(got - reference[output.name]).max()
            < (1.2 * ACCEPTED if variant in ("softmax", "relu2") else 0.02) * spread
        )


@pytest.mark.parametrize("variant", ["folded", "softmax"])
@pytest.mark.parametrize("mode", MODES)
def test_the_parties_agree(models: dict[tuple[str, str], Path], mode: str, variant: str) -> None:
    compiled = compiled_toy(models["bert", "sentence mean"], "prototypes", mode, "ce", variant, "losses")
    inputs = inputs_of(compiled)
    words = words_of(compiled, inputs)
    expected = run_plan(compiled.plan, compiled.weights, inputs)["loss"]
    traffic = []
    for ring in (compiled.ring, unstaged(compiled.ring)):
        parties = Simulator(program_text(ring))
        parties.weights(_flat(ring, "weight", words))
        parties.examples(len(TEXTS), _flat(ring, "example", words))
        before = parties.counters()
        opened = parties.step(CANDIDATES, _flat(ring, "candidate", words)).view(np.int64)
        traffic.append((parties.counters() - before).total)
        assert np.abs(decode(opened, ring[ring.outputs[0].value].scale) - expected).max() < 0.02
    assert traffic[0] < traffic[1]


def _flat(ring: RingProgram, kind: str, words: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([words[v.attrs["name"]].reshape(-1) for v in ring.inputs(kind)])
