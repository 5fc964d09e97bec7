"""Generated programs through MP-SPDZ's compiler, and a toy service end to end on its VM against the float oracle."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from mpspdz_local import Client, Parties, fixed, free_ports, installation, toy_plan
from secfwt.codegen.build import build_plan
from secfwt.codegen.mpspdz_calls import Container, Program, translate
from secfwt.codegen.mpspdz_options import PROTOCOLS, MpSpdzOptions
from secfwt.codegen.options import GenOptions
from secfwt.codegen.oracle_float import run_plan
from secfwt.codegen.plan import Plan
from secfwt.codegen.public import public_matrix
from secfwt.codegen.spec import HeadSpec, ModelSpec
from secfwt.codegen.target_mpspdz import render
from secfwt.runtime.mpspdz import LIBRARY, Compiled, MpSpdzError, compile_program

STOP, EXAMPLES, LOSSES, LOGITS = range(4)  # lib/service.py
CHUNK = 100_000


def program_text(plan: Plan, options: MpSpdzOptions) -> str:
    return render(plan, options, version="0.1.0", source_hash="-", command="-")


def compiled(folder: Path, plan: Plan, options: MpSpdzOptions) -> Compiled:
    source = folder / "program.mpc"
    source.write_text(program_text(plan, options))
    return compile_program(installation(), source, folder, options.protocol)


def sized_plan(layers: int, hidden: int = 384, tokens: int = 128) -> Plan:
    head = HeadSpec("classification", "first", ("a", "b"), dense_act="tanh")
    spec = ModelSpec("bert", hidden, layers, hidden // 32, 4 * hidden, "gelu", 1e-12, 30522, 512, 0, 2, 0, head)
    return build_plan(spec, GenOptions(sequence_length=tokens))


@pytest.mark.parametrize("name", ["bert_masked_lm", "roberta_prototypes", "distilbert_classification"])
def test_golden_compiles(tmp_path: Path, name: str) -> None:
    result = compile_program(installation(), LIBRARY / "examples" / f"{name}.mpc", tmp_path, "ring")
    assert result.hash
    assert "errors possible" not in result.log


def test_bytecode_is_reproducible(tmp_path: Path) -> None:
    source = LIBRARY / "examples" / "bert_classification.mpc"
    first, second = (compile_program(installation(), source, tmp_path / name, "ring") for name in ("a", "b"))
    assert first.hash == second.hash


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_compiles_for_every_protocol(tmp_path: Path, protocol: str) -> None:
    options = MpSpdzOptions(protocol=protocol, examples=4, tile=2)  # type: ignore[arg-type]
    assert compiled(tmp_path, toy_plan(tmp_path, rfa_variant="paper", loss="hinge"), options).hash


def bytecode(result: Compiled) -> int:
    return sum(file.stat().st_size for file in (result.folder / "Programs" / "Bytecode").iterdir())


def test_bytecode_does_not_grow_with_depth(tmp_path: Path) -> None:
    sizes = []
    for layers in (1, 4):
        folder = tmp_path / str(layers)
        folder.mkdir()
        sizes.append(bytecode(compiled(folder, sized_plan(layers, hidden=64, tokens=8), MpSpdzOptions())))
    assert sizes[1] < 1.02 * sizes[0]


@pytest.mark.slow
def test_minilm_sized_program_compiles_in_seconds(tmp_path: Path) -> None:
    result = compiled(tmp_path, sized_plan(6), MpSpdzOptions())
    assert result.seconds < 120
    assert bytecode(result) < 1_000_000


def test_compile_error_names_the_program(tmp_path: Path) -> None:
    source = tmp_path / "broken.mpc"
    source.write_text("from lib import no_such_kernel\n")
    with pytest.raises(MpSpdzError, match=r"refused broken\.mpc for ring(.|\n)*no_such_kernel"):
        compile_program(installation(), source, tmp_path, "ring")


class Toy:
    """A toy plan with random weights and inputs."""

    def __init__(self, folder: Path, head: str, **choices: object) -> None:
        rng = np.random.default_rng(1)
        self.plan = toy_plan(folder, "bert", head, **choices)
        self.options = MpSpdzOptions(examples=4, tile=2, port=free_ports(8))
        self.program: Program = translate(self.plan, self.options)
        self.weights = {
            name: random_weight(rng, container, name)
            for container in self.program.wire for name in container.sources
        }  # fmt: skip
        spec = self.plan.meta["spec"]
        tokens, hidden, labels = 6, spec["hidden_size"], len(spec["head"]["labels"])
        mask = np.ones((4, tokens))
        mask[1, 4:] = 0
        select = mask / mask.sum(axis=1, keepdims=True) if head == "prototypes" else np.eye(tokens)[[1, 2, 3, 4]]
        self.inputs = {
            "x": rng.standard_normal((4, tokens, hidden)), "mask": mask, "select": select,
            "labels": np.eye(labels)[np.arange(4) % labels], "example_weight": np.full((4, 1), 0.25),
            "z": rng.standard_normal((2, 4)),
        }  # fmt: skip

    def reference(self) -> dict[str, np.ndarray]:
        return run_plan(self.plan, self.weights, self.inputs)

    def rows(self) -> np.ndarray:
        """A·z of every candidate."""
        value = next(v for v in self.plan if v.kind == "prompt")
        a = public_matrix(value.attrs["seed"], value.attrs["bits"], (4, value.size))
        return self.inputs["z"] @ np.ldexp(a.astype(float), -value.attrs["scale_bits"])


def random_weight(rng: np.random.Generator, container: Container, name: str) -> np.ndarray:
    """In the layout of checkpoints."""
    shape = container.shape[1:] if container.name.startswith("layers_0[") else container.shape
    if container.transposed:
        shape = shape[::-1]
    if name.endswith("gamma"):
        return rng.uniform(0.8, 1.2, shape)
    if "phase" in name:
        return rng.standard_normal(shape) * 0.03
    if name == "head.prototypes":
        rows = rng.standard_normal(shape)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return rng.standard_normal(shape) * (0.25 if len(shape) > 1 else 0.1)


def wire(container: Container, arrays: list[np.ndarray]) -> np.ndarray:
    """Words of one container."""
    parts = [(a.T if container.transposed else a) * container.factor for a in arrays]
    return fixed(np.stack(parts), container.scale)


def serve(folder: Path, toy: Toy) -> tuple[np.ndarray, np.ndarray]:
    """Losses of two candidates, then the logits of the first."""
    text = program_text(toy.plan, toy.options)
    identity = [int(w) for w in re.search(r"identity=\[(.*)\]", text).group(1).split(",")]  # type: ignore[union-attr]
    with Parties(folder, text) as parties:
        data = folder / "Player-Data"
        owner = Client(data, 0, parties.count, toy.options.port, identity)
        tuner = Client(data, 1, parties.count, toy.options.port, identity)
        for container in toy.program.wire:
            owner.give(wire(container, [toy.weights[name] for name in container.sources]), CHUNK)
        tuner.say(EXAMPLES, toy.options.tiles)
        for tile in range(toy.options.tiles):
            for container in toy.program.examples:
                tuner.give(fixed(toy.inputs[container.name][2 * tile : 2 * tile + 2]), CHUNK)
        results = []
        for command, count in ((LOSSES, 2), (LOGITS, 1)):
            tuner.say(command, count)
            for candidate in toy.rows()[:count]:
                tuner.give(fixed(candidate), CHUNK)
            results.append(tuner.shares().astype(np.int64) / 2**16)
        tuner.say(STOP, 0)
        parties.join()
        owner.close()
        tuner.close()
    return results[0], results[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "choices"),
    [
        ("classification", {}), ("masked_lm", {"loss": "hinge", "prompt_layer": 1}),
        ("prototypes", {"rfa_variant": "paper"}),
    ],
)  # fmt: skip
def test_service_computes_the_oracles_losses(tmp_path: Path, head: str, choices: dict[str, object]) -> None:
    installation("ring")
    toy = Toy(tmp_path, head, **choices)
    losses, logits = serve(tmp_path, toy)
    want = toy.reference()
    np.testing.assert_allclose(logits.reshape(want["logits"][0].shape), want["logits"][0], atol=0.02)
    np.testing.assert_allclose(losses, [*want["loss"], 0], atol=0.02)
