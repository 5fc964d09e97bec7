"""What outputs open: inputs that reach them without a non-linearity, and how the doctor says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.parties import write_deployment
from helpers.ring_builder import RingProgram, Series
from helpers.ring_toys import toy
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.ring.text import program_text
from secfwt.runtime.commands import doctor
from secfwt.runtime.embedded.reach import Reach, reach


def hidden_weight(fit: bool) -> str:
    """An output named `o0` that is w·z + x, and behind a series of x·w if `fit`."""
    program = RingProgram()
    w = program.v("weight", (), (4,), "setup", name="w")
    x = program.v("example", (), (4,), "example", name="x")
    z = program.v("candidate", (), (4,), name="z")
    product = program.v("mul", (w, z), (4,), sharing="add")
    short = program.v("trunc", (product,), (4,), shift=1, group=0)
    total = program.v("add", (short, x), (4,), "pair")
    if fit:
        series = program.fit(Series(16, 13, 13, 64, 0, [1], [1.0], [0.0]))
        phase = program.v("scale", (x,), (4,), "example", scale=64, by=3)
        wave = program.v("fourier", (phase,), (4,), "example", scale=26, fit=series, group=1)
        total = program.v("mul", (total, wave), (4,), "pair", sharing="add")
    return program.text(total)


@pytest.mark.parametrize(
    ("fit", "expected", "said"),
    [
        (False, Reach(frozenset({"weight w", "candidate z", "example x"})), "nothing else: it opens a polynomial"),
        (True, Reach(mixed=True), "all inputs are behind non-linearities"),
    ],
)
def test_a_raw_weight_is_found_whatever_the_output_is_called(
    tmp_path: Path, fit: bool, expected: Reach, said: str
) -> None:
    path = tmp_path / "program.txt"
    path.write_text(hidden_weight(fit))
    assert reach(path) == {"o0": expected}
    assert said in doctor.opened(str(path))


def test_of_a_model_only_what_is_added_last_reaches_an_output(tmp_path: Path) -> None:
    path = tmp_path / "program.txt"
    path.write_text(program_text(toy("bert").ring))
    outputs = reach(path)
    assert outputs["logits"] == Reach(frozenset({"weight head.out.bias"}), mixed=True)
    assert "weight head.out.bias without a non-linearity; the rest is behind" in doctor.opened(str(path))


def test_noise_is_said(tmp_path: Path) -> None:
    path = tmp_path / "program.txt"
    path.write_text(program_text(toy("bert", noise=0.05).ring))
    loss, logits = doctor.opened(str(path)).splitlines()
    assert loss.endswith("behind non-linearities; each party adds noise of standard deviation 0.05")
    assert "noise" not in logits


def test_whose_sums_are_opened_to_whom_is_said(tmp_path: Path) -> None:
    path = tmp_path / "program.txt"
    path.write_text(program_text(toy("bert", min_owners=3).ring))
    loss, logits = doctor.opened(str(path)).splitlines()
    assert loss.endswith("; opened to the coordinator, of sums over 3 other data owners' examples at least")
    assert "coordinator" not in logits
    write_deployment(tmp_path, ("anna", "ben", "carl"), "anna")
    assert doctor.owners(str(tmp_path / "deployment.toml")) == (
        "owners    3 data owners: anna, ben, carl; coordinator: anna\n"
    )
    (one := tmp_path / "one").mkdir()
    write_deployment(one)
    assert "one data owner, who runs the search itself" in doctor.owners(str(one / "deployment.toml"))


def test_what_is_kept_comes_to_what_reads_it(tmp_path: Path) -> None:
    """Prototypes of shots: the step that keeps means opens nothing, and is no output here."""
    path = tmp_path / "program.txt"
    text = program_text(toy("prototypes", shots=4.0).ring)
    path.write_text(text)
    assert "keep=" in text
    assert set(reach(path)) == {"loss", "logits"}
    # a weight that is kept, and then opened beside a candidate
    program = RingProgram()
    w = program.v("weight", (), (4,), "setup", name="w")
    z = program.v("candidate", (), (4,), name="z")
    both = program.v("add", (w, z), (4,))
    m = program.v("kept", (), (4,), "setup", name="m")
    opened = program.v("add", (m, z), (4,))
    lines = program.text(opened).splitlines()
    lines.append(f"out m {both} max_candidates=1 keep={m}")
    path.write_text("\n".join(lines) + "\n")
    assert reach(path) == {"o0": Reach(frozenset({"weight w", "candidate z"}))}


def test_what_is_no_program_is_a_problem_of_the_option(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match=r"--program is .*\n.*cannot read program"):
        doctor.opened(str(tmp_path / "none.txt"))
