"""Two groups of three parties over TLS: one session on both, and what becomes of it when parties die."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import run as run_command
from helpers.parties import LOSSES, PROGRAM, TOLERANCE, Running, W, X, Z, parties_with_weights
from helpers.tune_runs import tune, write_toy
from rich.console import Console
from secfwt.codegen.bundle import generate
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.native.binaries import VM, BinaryMissing, find
from secfwt.runtime.commands.predict import main as predict
from secfwt.runtime.commands.weights import main as weights
from secfwt.runtime.embedded.processes import LocalParties
from secfwt.runtime.embedded.running import remote_engine
from secfwt.runtime.embedded.weights import share_weights
from secfwt.runtime.engine import Batch, Engine
from secfwt.runtime.errors import GroupError
from secfwt.runtime.groups.opening import opened_groups
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.progress import PlainDisplay

try:
    find(VM)
except BinaryMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

MANY = np.resize(X, (3000, *X.shape[1:])) / 10  # so that sums stay in their ring
ASKED = np.resize(Z, (300, Z.shape[1]))
LARGE = np.einsum("eij,jk,cik->c", MANY, W, ASKED.reshape(-1, 2, 3))


class Notes(PlainDisplay):
    """Keeps notes; calls `on_part` while the parties compute."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.notes: list[str] = []
        self.on_part: Callable[[], None] = lambda: None

    def note(self, text: str) -> None:
        self.notes.append(text)

    def part(self, done: int, total: int) -> None:
        if done:
            self.on_part()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def groups(certificates: Path, tmp_path: Path) -> Iterator[list[Running]]:
    """Two, each with its deployment file."""
    with ExitStack() as stack:
        running = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            running.append(stack.enter_context(parties_with_weights(tmp_path / name, certificates)))
            running[-1].deployment.save(tmp_path / f"{name}.toml")
        yield running


def session(groups: list[Running], folder: Path, notes: Notes, stack: ExitStack) -> Engine:
    files = [str(folder / f"{name}.toml") for name in "ab"]
    program = groups[0].program
    return stack.enter_context(
        opened_groups(files, lambda path, progress: remote_engine(path, program, progress), notes)
    )


def kill(running: Running) -> None:
    running.local._processes[1].kill()


def test_a_group_is_killed_in_a_step_and_then_the_other(groups: list[Running], tmp_path: Path) -> None:
    notes = Notes()
    with ExitStack() as stack:
        engine = session(groups, tmp_path, notes, stack)
        assert engine.name == "embedded, 2 groups of parties"
        engine.load_examples("train", Batch({"x": X}))
        assert np.allclose(engine.losses("train", Z), LOSSES, atol=TOLERANCE)
        assert np.allclose(engine.losses("train", Z[:1]), LOSSES[:1], atol=TOLERANCE)  # by examples
        logits = (X @ W * Z[0].reshape(2, 3)).reshape(len(X), -1)
        assert np.allclose(engine.logits("train", Z[0]), logits, atol=TOLERANCE)
        engine.load_examples("large", Batch({"x": MANY}))
        notes.on_part = lambda: kill(groups[1])
        wide = 1e-4 * len(MANY)  # roundings of all examples
        assert np.allclose(engine.losses("large", ASKED), LARGE, atol=wide)
        assert len(notes.notes) == 1
        assert notes.notes[0].startswith(f"warning  group {tmp_path / 'b.toml'} is lost (party ")
        assert "1 go on, and do its part" in notes.notes[0]
        notes.on_part = lambda: None
        assert np.allclose(engine.losses("train", Z), LOSSES, atol=TOLERANCE)
        kill(groups[0])
        with pytest.raises(GroupError, match=r"^no group of parties is left: .*a.toml: party \d: .*b.toml: party \d: "):
            engine.losses("train", Z)


def test_other_weights_and_another_program_are_refused(groups: list[Running], tmp_path: Path) -> None:
    share_weights(groups[1].deployment, groups[1].header, {"w": W})
    with ExitStack() as stack:  # the same weights, shared again
        session(groups, tmp_path, Notes(), stack)
    share_weights(groups[1].deployment, groups[1].header, {"w": W + 1})
    with ExitStack() as stack, pytest.raises(GroupError, match=r"a.toml and .*b.toml have different weights: "):
        session(groups, tmp_path, Notes(), stack)
    changed = tmp_path / "program.txt"
    changed.write_text(PROGRAM.replace("ring=44 group=0", "ring=43 group=0"))
    groups[0].program = changed
    with ExitStack() as stack, pytest.raises(GroupError, match=r"^group .*a.toml: party \d: .*program"):
        session(groups, tmp_path, Notes(), stack)


def test_the_commands_on_two_groups(tmp_path: Path, certificates: Path) -> None:
    model, data = write_toy(tmp_path)
    options = GenOptions(
        sequence_length=12, n_prompt_tokens=2, prompt_layer=1, intrinsic_dim=6, popsize=4,
        labels=("bad", "good"), label_texts=("bad", "good"), max_evaluations=12, max_logit_rows=30,
    )  # fmt: skip
    bundle, files = tmp_path / "bundle", [tmp_path / "a.toml", tmp_path / "b.toml"]
    generate(model, options, bundle, target="embedded")
    with ExitStack() as stack:
        for file in files:
            deployment = Deployment.local(certificates, threads=1)
            deployment.save(file)
            stack.enter_context(LocalParties(deployment, bundle / "public" / "program.txt", tmp_path / file.stem))
        common = ["--deployment", files[0], "--deployment", files[1], "--bundle", bundle]
        shared = run_command(weights, *common)
        assert shared.exit_code == 0, shared.output
        assert shared.output.count(" shared with 127.0.0.1:") == 2
        given = ["--data", data, "--k-shot", 2, "--popsize", 4, "--budget", 8, "--eval-every", 1]
        outcome = tune(*common, *given, "--run", tmp_path / "run")
        assert outcome.exit_code == 0, outcome.output
        assert "engine   embedded, 2 groups of parties" in outcome.output
        assert "with these weights the parties open 24 and 60 more" in outcome.output
        result = json.loads((tmp_path / "run" / "result.json").read_text())
        assert result["options"]["deployment"] == [str(file) for file in files]
        assert result["left"]["evaluations"] == 24 - 20  # 2 without a prompt, 8, 4 on dev; and canaries
        asked = run_command(predict, "--run", tmp_path / "run", "--text", "a good film", "a bad film", "the news")
        assert asked.exit_code == 0, asked.output
        alone = tune("--resume", tmp_path / "run", "--budget", 12, "--deployment", files[0])
        assert alone.exit_code == 2
        assert "--budget 8 fits" in alone.output  # one group has too little for another generation
