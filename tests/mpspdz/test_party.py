"""Our party programs for MP-SPDZ: products as numpy's, runs together with stock parties, builds without MP-SPDZ."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.mpspdz_local import installation
from helpers.places import ROOT
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.runtime.mpspdz.certificates import make_player_data
from secfwt.runtime.mpspdz.compiler import compile_program
from secfwt.runtime.mpspdz.installation import find_party, own_party
from secfwt.runtime.mpspdz.machines import MpSpdzParties

SOURCE = ROOT / "vm" / "mpspdz"
OURS = ("ring", "rep4-ring", "dealer-ring")
SHAPES = [(1, 1, 1), (3, 5, 7), (1, 70, 40), (17, 2, 33), (33, 64, 1), (4, 129, 66)]
PARTS = [((0, 2, 4), (1, 2, 3, 6), (6, 3, 2, 1), (0, 4)), ((3,), (0, 1), (5, 5), (7, 2, 0))]
"""Rows and columns of an 8x8 matrix, then of another: the indices that one product uses, in any order."""

PROGRAM = """
from lib.settings import configure
configure(**{settings})
from Compiler.library import break_point

def get(rows, columns):
    x = sint.Matrix(rows, columns)
    x.assign_vector(sint.get_input_from(0, size=rows * columns))
    break_point()
    return x

def indices(numbers):
    return regint.Array(len(numbers)).assign(numbers).get_vector()

pairs = [(get(m, k), get(k, n)) for m, k, n in {shapes}]
a, b = get(8, 8), get(8, 8)
parts = [[indices(numbers) for numbers in part] for part in {parts}]
results = [sint.direct_matrix_mul(x.address, y.address, *x.shape, y.shape[1]) for x, y in pairs]
results += [sint.direct_matrix_mul(a.address, b.address, None, 8, 8, indices=part) for part in parts]
for result in results:
    result.reveal().binary_output(0)
"""


def party(protocol: str) -> Path:
    """Our program, or a skip with the reason."""
    installation(protocol)
    program = own_party(protocol)
    if program is None:
        pytest.skip(f"no party program of ours for {protocol}: built where an installation of MP-SPDZ is found")
    return program


def inputs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return rng.integers(-(2**63), 2**63, shape)

    return [(draw(m, k), draw(k, n)) for m, k, n in [*SHAPES, (8, 8, 8)]]


def products() -> np.ndarray:
    """What every party program has to find, modulo 2^64."""
    *pairs, (a, b) = inputs()
    pairs += [(a[np.ix_(part[0], part[1])], b[np.ix_(part[2], part[3])]) for part in PARTS]
    return np.concatenate([(x @ y).ravel() for x, y in pairs])


def run(folder: Path, protocol: str, programs: list[Path]) -> tuple[np.ndarray, str]:
    """Products by these parties, and what they say of their communication."""
    options = PROTOCOLS[protocol].settings
    settings = dict(fraction_bits=16, value_bits=31, round_nearest=False, budget=1000, **options)
    source = folder / "program.mpc"
    source.write_text(PROGRAM.format(settings=settings, shapes=SHAPES, parts=PARTS))
    compile_program(installation(protocol), source, folder, protocol)
    make_player_data(folder, len(programs))
    words = " ".join(str(v) for pair in inputs() for matrix in pair for v in matrix.ravel())
    (folder / "Player-Data" / "Input-P0-0").write_text(words)
    chosen = folder / "party"
    cases = "".join(f'*" -p {i} "*) exec {program} "$@" ;; ' for i, program in enumerate(programs))
    chosen.write_text(f'#!/bin/sh\ncase "$*" in {cases}esac\n')
    chosen.chmod(0o755)
    with MpSpdzParties(chosen, protocol, "program", folder, folder) as parties:
        codes = parties.wait(120)
        log = (folder / "party0.log").read_text()
        assert set(codes) == {0}, log
    said = re.search(r"Data sent = \S+ MB in ~\d+ rounds", log)
    total = re.search(r"Global data sent = .*", log)
    assert said
    assert total
    return np.fromfile(folder / "Player-Data" / "Binary-Output-P0-0", "<i8"), f"{said[0]}, {total[0]}"


@pytest.mark.parametrize("protocol", OURS)
def test_products_are_exact_and_cost_what_stock_parties_pay(tmp_path: Path, protocol: str) -> None:
    sent = []
    for name, program in (("ours", party(protocol)), ("stock", installation(protocol).party(protocol))):
        folder = tmp_path / name
        folder.mkdir()
        got, communication = run(folder, protocol, [program] * PROTOCOLS[protocol].parties)
        np.testing.assert_array_equal(got, products())
        sent.append(communication)
    assert sent[0] == sent[1]


@pytest.mark.parametrize(("protocol", "number"), [(p, i) for p in OURS for i in range(PROTOCOLS[p].parties)])
def test_one_of_ours_with_stock_parties(tmp_path: Path, protocol: str, number: int) -> None:
    programs = [installation(protocol).party(protocol)] * PROTOCOLS[protocol].parties
    programs[number] = party(protocol)
    got, _ = run(tmp_path, protocol, programs)
    np.testing.assert_array_equal(got, products())


@pytest.mark.parametrize("protocol", OURS)
def test_generated_programs_run_on_ours(protocol: str) -> None:
    """Those of test_mpspdz_service and test_mpspdz_kernels do: this is the program they start."""
    assert party(protocol) == find_party(installation(protocol), protocol)


@pytest.mark.parametrize("threads", ["0", "2x", "1025"])
def test_wrong_number_of_threads(threads: str) -> None:
    done = subprocess.run(
        [party("ring")], env={**os.environ, "SECFWT_THREADS": threads}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == f'SECFWT_THREADS is "{threads}"; a number from 1 to 1024 is accepted\n'


def cmake(*arguments: str) -> str:
    done = subprocess.run(["cmake", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no installation at"), ({"Processor/Processor.hpp": ""}, "has no libSPDZ.so"),
        (
            {"Processor/Processor.hpp": "", "libSPDZ.so": "", "CHANGELOG.md": "## 0.3.9 (May 1, 2024)\n"},
            r"is release '## 0\.3\.9 .*', they are written for 0\.4",
        ),
    ],
)  # fmt: skip
def test_missing_installation_is_a_message(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    said = cmake(f"-DMP_SPDZ_HOME={tmp_path}", "-P", str(SOURCE / "parties.cmake"))
    assert re.search(rf"MP-SPDZ parties: not built, .*{reason}", said)


def test_unusable_installation_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "secfwt-old-party.x").touch()
    names = {
        "SOURCE": SOURCE, "BUILD": tmp_path / "build", "OUTPUT": tmp_path, "MP_SPDZ": tmp_path, "RING": "none",
        "CXX": "c++", "GENERATOR": "Ninja", "MAKE_PROGRAM": "ninja", "OPENSSL": "",
    }  # fmt: skip
    said = cmake(*(f"-D{name}={value}" for name, value in names.items()), "-P", str(SOURCE / "build.cmake"))
    assert f"not built, the installation at {tmp_path} cannot be used" in said
    assert (tmp_path / "build" / "log.txt").exists()
    assert not (tmp_path / "secfwt-old-party.x").exists()
