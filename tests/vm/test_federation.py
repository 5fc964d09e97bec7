"""Three data owners and a coordinator on three parties: one search on all their examples, and whoever dies in it."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commands import Ended
from helpers.commands import run as run_command
from helpers.parties import write_deployment
from helpers.tune_runs import history, start, tune, write_toy
from rich.console import Console
from secfwt.codegen.bundle import generate
from secfwt.codegen.compile import Compiled, encoded_weights
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.native.binaries import VM, BinaryMissing, find
from secfwt.codegen.ring.header import read_program
from secfwt.runtime.data.examples import read_examples
from secfwt.runtime.data.splits import draw_splits
from secfwt.runtime.embedded.processes import LocalParties
from secfwt.runtime.embedded.weights import share_weights
from secfwt.runtime.engine import Batch
from secfwt.runtime.errors import ServiceError
from secfwt.runtime.federation.command import COMMAND
from secfwt.runtime.federation.command import main as join_main
from secfwt.runtime.federation.joining import join
from secfwt.runtime.federation.options import JoinOptions
from secfwt.runtime.privacy import Mechanism
from secfwt.runtime.tuning.clear import ClearEngine

try:
    find(VM)
except BinaryMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

OWNERS = ("mercy", "north", "saint-anne")
OPTIONS = GenOptions(
    sequence_length=12, n_prompt_tokens=2, prompt_layer=1, intrinsic_dim=6, popsize=4,
    labels=("bad", "good"), label_texts=("bad", "good"), min_owners=2,
)  # fmt: skip


class Here(threading.Thread):
    """One `secfwt-join`, and what it says."""

    def __init__(self, options: JoinOptions) -> None:
        super().__init__(daemon=True)
        self._options, self._said = options, io.StringIO()

    def run(self) -> None:
        with contextlib.suppress(ServiceError):  # the parties have ended
            join(self._options, Console(file=self._said, width=200))

    def ended(self) -> str:
        self.join(60)
        assert not self.is_alive(), self._said.getvalue()
        return self._said.getvalue()


@dataclass
class World:
    """Parties with weights, a bundle without the model owner's part, and each owner's file."""

    folder: Path
    bundle: Path
    compiled: Compiled
    shots: dict[str, int]

    @property
    def common(self) -> list[str]:
        return ["--deployment", str(self.folder / "deployment.toml"), "--bundle", str(self.bundle)]

    def tune(self, *words: object) -> Ended:
        """As the coordinator."""
        return tune(*self.common, "--popsize", 4, *words)

    def data(self, owner: str) -> Path:
        return self.folder / f"{owner}.jsonl"

    def join_command(self, owner: str) -> list[str]:
        words = ["--data", self.data(owner), "--owner", owner, "--k-shot", self.shots[owner], "--run", self.log(owner)]
        module = "secfwt.runtime.federation.command"
        return [sys.executable, "-u", "-m", module, *self.common, *map(str, words)]

    def join(self, owner: str) -> subprocess.Popen[str]:
        """The command, once it has joined."""
        process = subprocess.Popen(
            self.join_command(owner), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith("joined "):
            assert line or process.wait(30) is None, process.communicate()
        return process

    def join_here(self, *owners: str) -> dict[str, Here]:
        """The same in threads of this process, for owners that stay to the end."""
        started = {}
        for owner in owners:
            options = COMMAND.parse(self.join_command(owner)[4:]).make(JoinOptions)
            started[owner] = Here(options)
            started[owner].start()
        return started

    def log(self, owner: str) -> Path:
        return self.folder / f"log-{owner}"

    def openings(self, owner: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.log(owner) / "openings.jsonl").read_text().splitlines()]

    def clear_loss(self, name: str, owners: Sequence[str] = OWNERS) -> float:
        """Without a prompt, over these owners' examples, each counting alike."""
        total, count = 0.0, 0
        assert self.compiled.weights is not None
        assert self.compiled.embedder is not None
        weights = {key: np.asarray(value, np.float64) for key, value in self.compiled.weights.items()}
        engine = ClearEngine(self.compiled.plan, weights)
        for owner in owners:
            splits = draw_splits(read_examples(self.data(owner)), None, None, k_shot=self.shots[owner], seed=1)
            examples = getattr(splits, name)
            texts, labels = [e.text for e in examples], [e.label for e in examples]
            inputs, _ = self.compiled.embedder.encode(texts, labels)
            engine.load_examples(name, Batch({key: np.asarray(v, np.float64) for key, v in inputs.items()}))
            total += len(examples) * float(engine.losses(name, np.zeros((1, 6)))[0])
            count += len(examples)
        return total / count


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("model"))[0]


def write_bundle(folder: Path, model: Path, options: GenOptions) -> tuple[Path, Compiled]:
    """A bundle, and beside it each owner's file."""
    rng = np.random.default_rng(3)
    for owner in OWNERS:
        with (folder / f"{owner}.jsonl").open("w") as file:
            for i in range(20):
                label = ("good", "bad")[i % 2]
                words = [*rng.choice(["film", "a", "the", "was", "it", "very", "world"], size=4), label]
                rng.shuffle(words)
                file.write(json.dumps({"text": " ".join(words), "label": label}) + "\n")
    compiled = generate(model, options, folder / "bundle")
    assert not (folder / "bundle" / "public" / "program.mpc").exists()
    (folder / "bundle" / "model_owner" / "weights.safetensors").unlink()
    return folder / "bundle", compiled


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, Compiled]:
    return write_bundle(tmp_path_factory.mktemp("bundle"), model, OPTIONS)


@contextmanager
def world(folder: Path, bundle: tuple[Path, Compiled], coordinator: str) -> Iterator[World]:
    path, compiled = bundle
    folder.mkdir(exist_ok=True)
    for owner in OWNERS:
        shutil.copy(path.parent / f"{owner}.jsonl", folder)
    deployment = write_deployment(folder, OWNERS, coordinator)
    program = path / "public" / "program.txt"
    with LocalParties(deployment, program, folder / "logs"):
        share_weights(deployment, read_program(program), encoded_weights(compiled))
        yield World(folder, path, compiled, dict(zip(OWNERS, (1, 2, 3), strict=True)))


@pytest.fixture
def neutral(tmp_path: Path, bundle: tuple[Path, Compiled]) -> Iterator[World]:
    with world(tmp_path, bundle, "board") as there:
        yield there


def test_a_search_on_the_sum_of_all_owners(neutral: World) -> None:
    owners = neutral.join_here(*OWNERS)
    run = neutral.folder / "run"
    outcome = neutral.tune("--budget", 8, "--run", run)
    assert outcome.exit_code == 0, outcome.output
    result = json.loads((run / "result.json").read_text())
    assert result["owners"] == {"mercy": [2, 2], "north": [4, 4], "saint-anne": [6, 6]}
    assert result["start_loss"] == pytest.approx(neutral.clear_loss("train"), abs=0.02)
    assert result["start_dev"] == pytest.approx(neutral.clear_loss("dev"), abs=0.02)
    assert result["test_tuned"] is None
    assert "each data owner measures" in outcome.output
    assert not any("logits" in path.read_text() for path in run.glob("*.jsonl"))  # nor has it rows of anybody's
    assert {path.name for path in run.iterdir()}.isdisjoint({"opened.jsonl", "evaluation.json"})
    with np.load(run / "prompt.npz") as found:
        chosen = found["z"]
    for owner, there in owners.items():
        said = there.ended()
        assert "sums     of 2 data owners or more, board not counted, who gets them; the deployment names 3: " in said
        assert "opened   to board: 2 x loss of train, each the sum over 12 examples of 3 owners; 2 so far" in said
        openings = neutral.openings(owner)
        assert sum(line["candidates"] for line in openings) == result["opened"]["losses"] == openings[-1]["opened"]
        assert {line["to"] for line in openings} == {"board"}
        assert {tuple(line["owners"]) for line in openings} == {OWNERS}
        evaluation = json.loads((neutral.log(owner) / "evaluation.json").read_text())
        assert evaluation["tuned"]["examples"] == 20 - 4 * neutral.shots[owner]
        with np.load(neutral.log(owner) / "prompt.npz") as kept:  # as the parties got it: times alpha
            assert np.allclose(kept["z"] == 0, chosen == 0)
            if np.any(chosen):
                assert np.corrcoef(kept["z"], chosen)[0, 1] == pytest.approx(1, abs=1e-6)


def test_a_search_on_sums_with_noise(tmp_path: Path, model: Path) -> None:
    noise, most = 0.02, 60
    made = write_bundle(tmp_path, model, replace(OPTIONS, noise=noise, max_evaluations=most))
    with world(tmp_path / "there", made, "board") as there:
        owners = there.join_here("mercy", "saint-anne")
        run = there.folder / "run"
        outcome = there.tune("--budget", 8, "--owners", "mercy,saint-anne", "--run", run, "--delta", 1e-4)
        assert outcome.exit_code == 0, outcome.output
        result = json.loads((run / "result.json").read_text())
        spread = sqrt(3) * noise * 16 / 8  # of the mean over 4 shots of 2 labels
        due = there.clear_loss("train", ("mercy", "saint-anne"))
        assert 0 < abs(result["start_loss"] - due) < 6 * spread + 0.02
        low, high = made[1].covered.clipped or (0, 0)
        asked = result["privacy"]["losses"]
        assert sum(asked.values()) == result["opened"]["losses"]
        sets = {"train": 1 / 16, "dev": 1 / 16}
        mechanism = Mechanism(noise, high - low, 1e-4, sets)
        assert result["privacy"]["epsilon"] == pytest.approx(mechanism.epsilon(asked))
        largest = mechanism.epsilon_of(dict.fromkeys(sets, 6), asked)
        assert f"of all of an owner's at once ε = {largest:.3g}" in outcome.output
        for owner, each in owners.items():
            said, size = each.ended(), 2 * there.shots[owner]
            own = replace(mechanism, delta=1e-5)  # its own choice, which the default is
            promised, whole = own.epsilon({"train": most}), own.epsilon_of(dict.fromkeys(sets, size), asked)
            assert f"at most {most} sums more are opened with these weights: (ε = {promised:.3g}, δ = 1e-05)" in said
            assert f"of what the log has, {asked['train']} losses of train" in said
            assert f"of all of an owner's at once ε = {whole:.3g}; nothing else of them is opened" in said


def test_owners_and_coordinator_may_die_and_go_on(neutral: World) -> None:
    owners = neutral.join_here("mercy", "saint-anne")
    north = neutral.join("north")
    run = neutral.folder / "run"
    process = start(*neutral.common, "--popsize", 4, "--run", run, generation=2)
    process.kill()  # the coordinator: owners stay
    process.communicate()
    process = start("--resume", run, generation=len(history(run)) + 1)
    north.kill()
    north.communicate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "north.secfwt is not here: it has not joined yet, or has left" in errors
    assert f"continue with: tune.py --resume {run}" in errors
    owners |= neutral.join_here("north")  # with the same folder
    done = len(history(run))
    outcome = tune("--resume", run, "--budget", 4 * (done + 1))
    assert outcome.exit_code == 0, outcome.output
    assert len(history(run)) == done + 1
    for there in owners.values():
        there.ended()


def test_an_owner_withdraws_by_ctrl_c_and_cannot_be_left_out(neutral: World) -> None:
    neutral.join_here("north", "saint-anne")
    mercy = neutral.join("mercy")
    run = neutral.folder / "run"
    few = neutral.tune("--owners", "mercy", "--run", run)
    assert few.exit_code == 2
    assert "the sum is over mercy besides the coordinator" in few.stderr
    process = start(*neutral.common, "--popsize", 4, "--run", run)
    mercy.send_signal(signal.SIGINT)
    out, errors = mercy.communicate(timeout=60)
    assert mercy.returncode == 0, errors
    assert "withdrawn: the parties have let go of these examples" in out
    process.communicate(timeout=60)
    assert process.returncode == 3
    without = neutral.tune("--owners", "north,saint-anne", "--budget", 4, "--run", neutral.folder / "other")
    assert without.exit_code == 3
    assert "stand in the sum over mercy.secfwt, north.secfwt, saint-anne.secfwt" in without.stderr
    other = neutral.data("mercy")
    other.write_text("".join(sorted(other.read_text().splitlines(keepends=True))[1:]))
    again = run_command(join_main, *neutral.join_command("mercy")[4:])
    assert again.exit_code == 2
    assert "changed since it began: data" in again.stderr


def test_two_commands_of_one_owner_notice_each_other(neutral: World) -> None:
    first = neutral.join("mercy")
    words = neutral.join_command("mercy")
    words[-1] = str(neutral.folder / "elsewhere")
    second = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 3
    assert "mercy.secfwt shares examples on another connection: those of this one are withdrawn" in errors
    assert second.stdout is not None
    said = [second.stdout.readline()]
    while not said[-1].startswith("joined "):
        said.append(second.stdout.readline())
        assert said[-1], second.communicate()
    assert any("joined already, on another connection, with 2 train, 2 dev examples" in line for line in said)
    second.send_signal(signal.SIGINT)
    assert "withdrawn" in second.communicate(timeout=60)[0]


def test_a_coordinator_with_examples_of_its_own(tmp_path: Path, bundle: tuple[Path, Compiled]) -> None:
    with world(tmp_path, bundle, "north") as there:
        owners = there.join_here("mercy", "saint-anne")
        run = tmp_path / "run"
        words = ["--budget", 4, "--run", run, "--k-shot", there.shots["north"]]
        assert "--data is missing" in there.tune(*words).stderr
        outcome = there.tune(*words, "--data", there.data("north"))
        assert outcome.exit_code == 0, outcome.output
        result = json.loads((run / "result.json").read_text())
        assert result["start_loss"] == pytest.approx(there.clear_loss("train"), abs=0.02)
        assert len((run / "openings.jsonl").read_text().splitlines()) == 4
        assert json.loads((run / "evaluation.json").read_text()).keys() >= {"none", "tuned"}
        for owner in owners.values():
            owner.ended()
