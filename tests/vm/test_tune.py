"""`tune.py` on three parties of the embedded VM: private results, dying parties, parties that run elsewhere."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.commands import run as run_command
from helpers.parties import write_deployment
from helpers.toy_decoders import save_decoder
from helpers.toy_gguf import save_gguf
from helpers.tune_runs import BASE, ends_for_a_lost_party, goes_on, start, tune, write_data, write_toy
from secfwt.codegen.bundle import generate
from secfwt.codegen.compile import encoded_weights
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.native.binaries import VM, BinaryMissing, find
from secfwt.codegen.ring.header import read_program
from secfwt.runtime.commands.predict import main as predict
from secfwt.runtime.embedded.processes import LocalParties
from secfwt.runtime.embedded.weights import share_weights

try:
    find(VM)
except BinaryMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def options(toy: tuple[Path, Path]) -> list[object]:
    model, data = toy
    return ["--model", model, "--data", data, *BASE, "--engine", "embedded"]


def parties_of(run: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(run) in word for word in process.cmdline()) and process.name().startswith(VM):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_private_run(tmp_path: Path, options: list[object]) -> None:
    run = tmp_path / "run"
    limits = ["--max-evaluations", 35, "--max-logit-rows", 32]  # as many as it needs
    outcome = tune(*options, *limits, "--budget", 12, "--run", run)
    assert outcome.exit_code == 0, outcome.output
    assert "NOT PRIVATE" not in outcome.output
    assert "the parties open 35 and 32 more" in outcome.output
    result = json.loads((run / "result.json").read_text())
    assert result["engine"] == "embedded"
    assert result["left"]["evaluations"] == 0
    assert result["private"] is True
    assert result["cost"]["bytes_sent"] > 0
    assert result["cost"]["rounds"] > 0
    assert sorted(p.name for p in (run / "parties").iterdir()) == [
        "party0.log", "party1.log", "party2.log", "program.txt",
    ]  # fmt: skip
    assert parties_of(run) == []


def test_noise_and_what_it_keeps_private(tmp_path: Path, options: list[object]) -> None:
    run = tmp_path / "run"
    noise = ["--noise", 0.02, "--clip-loss", 2, "--delta", 1e-4]
    outcome = tune(*options, *noise, "--budget", 8, "--run", run)
    assert outcome.exit_code == 0, outcome.output
    result = json.loads((run / "result.json").read_text())
    # z = 0 on both sets, two generations of 4 and of 2 on dev; a canary in every step
    assert result["privacy"]["losses"] == {"train": 2 + 2 * 5, "dev": 2 + 2 * 3}
    assert result["opened"]["losses"] == 20
    assert result["privacy"]["delta"] == 1e-4
    assert result["privacy"]["statement"] in outcome.output
    assert "privacy  this run opens up to 12 losses of train and 8 losses of dev: (ε = " in outcome.output
    line = next(x for x in (run / "parties" / "program.txt").read_text().splitlines() if x.startswith("out loss"))
    assert line.endswith(f" noise={round(0.02 * 2**40)}")


def test_losses_of_an_interrupted_generation_count(tmp_path: Path, options: list[object]) -> None:
    """They may have been opened; the same candidates are asked about again, with other noise."""
    run = tmp_path / "run"
    process = start(*options, "--noise", 0.02, "--run", run)
    parties_of(run)[1].kill()
    ends_for_a_lost_party(process, run)
    with (run / "asked.jsonl").open() as file:
        asked = sum(line["losses"] for line in map(json.loads, file) if line["set"] == "train")
    done = len((run / "history.jsonl").read_text().splitlines())
    assert tune("--resume", run, "--budget", 4 * (done + 1)).exit_code == 0
    result = json.loads((run / "result.json").read_text())
    assert result["privacy"]["losses"]["train"] == asked + 5
    assert asked in (2 + 5 * done, 2 + 5 * (done + 1))


def test_lost_party_ends_the_run_and_resume_goes_on(tmp_path: Path, options: list[object]) -> None:
    run = tmp_path / "run"
    process = start(*options, "--run", run)
    parties_of(run)[1].kill()
    ends_for_a_lost_party(process, run)
    assert parties_of(run) == []
    goes_on(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_party_outlives_an_interrupted_run(tmp_path: Path, options: list[object], number: signal.Signals) -> None:
    run = tmp_path / "run"
    process = start(*options, "--run", run)
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    psutil.wait_procs(parties_of(run), timeout=20)
    assert parties_of(run) == []
    assert process.returncode == (130 if number == signal.SIGINT else -9)


@pytest.fixture
def remote(tmp_path: Path, toy: tuple[Path, Path]) -> Iterator[tuple[Path, Path]]:
    """A deployment file and a bundle without the model owner's part, as the data owner has them."""
    options = GenOptions(
        sequence_length=12, n_prompt_tokens=2, prompt_layer=1, intrinsic_dim=6, popsize=4,
        labels=("bad", "good"), label_texts=("bad", "good"), health=True,
        max_evaluations=45, max_logit_rows=100,
    )  # fmt: skip
    bundle = tmp_path / "bundle"
    compiled = generate(toy[0], options, bundle, target="embedded")
    (bundle / "model_owner" / "weights.safetensors").unlink()
    deployment = write_deployment(tmp_path)
    program = bundle / "public" / "program.txt"
    with LocalParties(deployment, program, tmp_path / "logs"):
        share_weights(deployment, read_program(program), encoded_weights(compiled))
        yield tmp_path / "deployment.toml", bundle


def predicts_within_the_budget(finished: Path) -> None:
    """Of the four rows that are left: refused for five texts, then three, which cost nothing a second time."""
    texts = ["a good film", "a bad film", "the news", "the world", "very bad"]
    refused = run_command(predict, "--run", finished, "--text", *texts)
    assert refused.exit_code == 2
    assert "this opens 5 rows of logits; with these weights the parties open 4 more" in refused.stderr
    done = run_command(predict, "--run", finished, "--text", *texts[:3], "--batch-size", 2)
    assert done.exit_code == 0, done.output
    assert "1 rows of logits left" in done.stderr
    assert run_command(predict, "--run", finished, "--text", *texts[:3]).stdout == done.stdout
    assert run_command(predict, "--run", finished, "--text", texts[3]).exit_code == 0
    assert (
        "open 0 more: the model owner may send weights again"
        in run_command(predict, "--run", finished, "--text", texts[4]).stderr
    )


def test_parties_that_run_elsewhere(tmp_path: Path, toy: tuple[Path, Path], remote: tuple[Path, Path]) -> None:
    deployment, bundle = remote
    common = ["--deployment", deployment, "--data", toy[1], "--k-shot", 2, "--popsize", 4]
    for run in ("a", "b"):  # the parties serve one run after the other
        outcome = tune(*common, "--bundle", bundle, "--budget", 8, "--run", tmp_path / run)
        assert outcome.exit_code == 0, outcome.output
        assert " rows off  " in outcome.output  # what the bundle has settled, the run shows
        lines = [json.loads(line) for line in (tmp_path / run / "history.jsonl").read_text().splitlines()]
        limit = json.loads((bundle / "public" / "plan.json").read_text())["covered"]["health"]
        assert all(len(line["health"]) == 4 and max(map(abs, line["health"])) < limit for line in lines)
    with np.load(tmp_path / "a" / "prompt.npz") as saved:
        assert saved.files == ["z", "shots"]
    assert "11 losses left, 68 rows of logits left" in outcome.output  # of 45 and 100, 17 and 32 per run
    assert tune("--resume", tmp_path / "a", "--budget", 12).exit_code == 0
    spent = tune(*common, "--bundle", bundle, "--budget", 8, "--run", tmp_path / "c")
    assert spent.exit_code == 2
    assert "error: this run opens up to 17 losses and 32 rows of logits" in spent.output
    assert "the parties open 3 and 4 more: no --budget fits" in spent.output
    predicts_within_the_budget(tmp_path / "a")
    assert tune(*common, "--bundle", bundle, "--engine", "mp-spdz").exit_code == 2
    outcome = tune(*common, "--bundle", bundle, "--prompt-layer", 0, "--sequence-length", 12)
    assert outcome.exit_code == 2
    assert "--prompt-layer is 0\n  The bundle was generated with 1." in outcome.output
    assert "--deployment is given without --bundle" in tune(*common).output
    outcome = tune(*common, "--bundle", tmp_path)
    assert outcome.exit_code == 2
    assert "cannot read the bundle" in outcome.output


def test_a_decoder_from_its_gguf_file(tmp_path: Path) -> None:
    save_decoder(tmp_path / "hf", "llama", "causal_lm")
    save_gguf(tmp_path / "hf", tmp_path / "toy.gguf", "llama")
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    words = ["--label-words", "good=good", "--label-words", "bad=bad", "--template", "Review: {text} So it is"]
    choices = ["--data", tmp_path / "films.jsonl", *BASE[2:], "--attention", "softmax", "--sequence-length", 48]
    results = {}
    for engine in ("embedded", "clear"):
        run = tmp_path / engine
        chosen = ["--model", tmp_path / "toy.gguf", *choices, *words, "--engine", engine, "--run", run]
        outcome = tune(*chosen, "--budget", 8)
        assert outcome.exit_code == 0, outcome.output
        results[engine] = json.loads((run / "result.json").read_text())
    # without a prompt both compute the same model
    assert results["embedded"]["start_dev"] == pytest.approx(results["clear"]["start_dev"], abs=0.05)
    assert np.load(tmp_path / "embedded" / "prompt.npz")["p"].shape == (1, 2, 32)
