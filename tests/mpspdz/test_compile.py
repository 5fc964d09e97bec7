"""Generated programs through MP-SPDZ's compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.mpspdz_local import installation, toy_plan
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.codegen.mpspdz.text import render
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Plan
from secfwt.runtime.mpspdz.compiler import LIBRARY, Compiled, compile_program
from secfwt.runtime.mpspdz.installation import MpSpdzError


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


@pytest.mark.parametrize("name", ["bert_masked_lm", "roberta_prototypes", "distilbert_classification", "bert_softmax"])
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
    for layers in (2, 5):
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
