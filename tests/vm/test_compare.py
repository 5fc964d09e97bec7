"""`compare.py`: expected times, tables and figures of engines that are made up, one that is not, messages."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from helpers.commands import Ended, run
from helpers.mpspdz_local import installation
from helpers.places import ROOT
from helpers.toy_lora import save_lora
from helpers.toys import save_sentence_transformer
from rich.console import Console
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.codegen.native.binaries import VM, BinaryMissing, find
from secfwt.codegen.native.network import NETWORKS, Network
from secfwt.codegen.native.rate import Rate
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import Estimate, generation_cost, traffic
from secfwt.runtime.commands.compare import main
from secfwt.runtime.comparison import session as comparison
from secfwt.runtime.comparison.measure import Choices, Row, measure
from secfwt.runtime.comparison.protocols import PROMISES, embedded_numbers
from secfwt.runtime.comparison.report import table
from secfwt.runtime.comparison.rounds import choices, lines, step_costs
from secfwt.runtime.comparison.task import Size, Task, TaskError, make_task
from secfwt.runtime.engine import Batch, Cost
from secfwt.runtime.errors import ServiceError
from secfwt.runtime.progress import Display

CONFIG = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": 50, "hidden_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "max_position_embeddings": 20,
}  # fmt: skip
SIZE = Size(tokens=6, layers=1)
QUIET = comparison.Notes(Console(quiet=True), "ring")
QUICK = ["--tokens", "6", "--layers", "1", "--runs", "2"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "toy.json"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.fixture(scope="module")
def task(config: Path) -> Task:
    return make_task(config, SIZE)


class Fake:
    """An engine that answers with the oracle's results plus an error: 0.5 s, 3 MB and 100 rounds a step, of three
    parties that send unevenly.
    """

    name, private = "fake", True

    def __init__(self, task: Task, error: float = 0.0, pause: float = 0.0, load_bytes: int = 0) -> None:
        self.task, self.error, self.pause, self.steps = task, error, pause, 0
        self.load_bytes, self.loads, self.batches = load_bytes, 0, 0
        self.closed = False

    def load_examples(self, name: str, batch: Batch) -> None:
        assert batch is self.task.batch
        self.loads += 1

    def losses(self, name: str, z: np.ndarray) -> np.ndarray:
        time.sleep(self.pause)
        self.steps += 1
        self.batches += 1
        return self.task.losses + self.error

    def logits(self, name: str, z: np.ndarray) -> np.ndarray:
        np.testing.assert_array_equal(z, self.task.z[0])
        self.batches += 1
        return self.task.logits

    def cost(self) -> Cost:
        sent = 3_000_000 * self.steps + self.load_bytes * self.loads
        return Cost(0.5 * self.steps, sent, 100 * self.steps, 7_000_000, self.steps)

    def sent(self) -> list[int]:
        return [n * self.steps for n in (1_500_000, 500_000, 1_000_000)]

    def close(self) -> None:
        self.closed = True


class Telling(Fake):
    """One whose parties say at their end what they have sent online: 0.4 MB a batch each, 0.1 MB for examples."""

    def tell(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        online = 0.4 * self.batches + 0.1 * self.loads
        spent = f"Spent 1.5 seconds ({online:g} MB, 3 rounds) on the online phase and 2e-05 seconds (9 MB, 2 rounds) on"
        for party in range(3):
            said = spent if party else "Spent 1.5 seconds on the online phase and 3 seconds (9 MB, 2 rounds) on"
            (folder / f"party{party}.log").write_text(f"Setup took 1 s\n{said} the preprocessing/offline phase.\n")


def engines(**made: Callable[[], Fake]) -> Any:
    """Opens what `made` returns for a protocol (dashes as underscores), and closes it."""

    @contextmanager
    def open_one(protocol: str, task: Task, folder: Path, display: Display) -> Iterator[Fake]:
        engine = made[protocol.replace("-", "_")]()
        yield engine
        engine.close()
        if isinstance(engine, Telling):
            engine.tell(folder)

    return open_one


def absent() -> Fake:
    raise ServiceError(1, "lost", "ended with code 1:\n  out of memory")


def screen() -> Console:
    return Console(file=io.StringIO(), width=comparison.PLAIN_WIDTH, highlight=False)


def records(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "comparison.csv").open(newline="") as file:
        return {record["protocol"]: record for record in csv.DictReader(file)}


def compare(*arguments: object) -> Ended:
    return run(main, *arguments)


def test_expected_seconds() -> None:
    network = Network("WAN", 100e6, 0.08)
    assert network.seconds(1.5, 0, 0) == 1.5
    assert network.seconds(1.5, 10, 0) == pytest.approx(1.5 + 0.8)
    assert network.seconds(1.5, 10, 25e6) == pytest.approx(1.5 + 0.8 + 2.0)
    assert [str(n) for n in NETWORKS] == [
        "LAN 3 Gbit/s 0.8 ms", "WAN 200 Mbit/s 40 ms", "WAN 100 Mbit/s 80 ms",
    ]  # fmt: skip


def test_the_better_variant_depends_on_the_network() -> None:
    costs = {"default": Estimate(bytes=300_000_000, rounds=100), "few": Estimate(bytes=360_000_000, rounds=80)}
    rate = Rate(macs_per_second=1e9, bytes_per_second=1e12)
    found = choices(costs, rate)
    # 20 MB more of a party against 20 latencies: 53 ms against 16, 0.8 s against 0.8, 1.6 s against 1.6
    assert [choice.network for choice in found] == list(NETWORKS)
    assert [choice.seconds["few"] - choice.seconds["default"] for choice in found] == pytest.approx(
        [0.0533 - 0.016, 0.0, 0.0], abs=1e-3
    )
    assert found[0].best == "default"
    lighter = costs | {"few": Estimate(bytes=330_000_000, rounds=80)}
    assert [choice.best for choice in choices(lighter, rate)] == ["default", "few", "few"]
    assert "WAN 100 Mbit/s 80 ms: --rounds few (default 16 s, few 15.2 s)" in "\n".join(lines(lighter, rate))


def test_both_variants_of_a_task_are_costed(tmp_path: Path) -> None:
    wider = CONFIG | {"architectures": ["BertModel"], "hidden_size": 64, "intermediate_size": 256}
    wider |= {"max_position_embeddings": 40}
    (tmp_path / "wider.json").write_text(json.dumps(wider))
    task = make_task(tmp_path / "wider.json", Size(tokens=32, candidates=1, examples=2, attention="rfa"))
    costs = step_costs(task)
    assert costs["default"] == generation_cost(task.compiled.ring, 1, 2)
    assert costs["few"].rounds < costs["default"].rounds
    assert costs["few"].bytes > costs["default"].bytes


def test_every_protocol_of_the_generator_has_its_promise() -> None:
    assert PROMISES.keys() == {"embedded"} | PROTOCOLS.keys()
    assert all(0 < promise.corruptions < promise.parties for promise in PROMISES.values())
    assert all(p.corruptions * 2 < p.parties for p in PROMISES.values() if p.majority == "honest")


def test_the_same_seed_makes_the_same_task(config: Path, task: Task) -> None:
    again = make_task(config, SIZE)
    np.testing.assert_array_equal(again.losses, task.losses)
    assert not np.array_equal(make_task(config, Size(tokens=6, layers=1, seed=2)).losses, task.losses)
    assert task.spec.num_hidden_layers == 1
    assert task.z.shape == (2, 32)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft
def test_an_adapter_is_compared_as_what_it_makes_of_its_base(tmp_path: Path) -> None:
    save_lora(tmp_path / "lora", save_sentence_transformer(tmp_path / "model", "bert"), target_modules=["query"])
    size = Size(tokens=8, examples=3, attention="softmax")
    plain, adapted = (make_task(tmp_path / "model", replace(size, lora=lora)) for lora in (None, tmp_path / "lora"))
    assert adapted.options.private_tensors == ("layers.0.q.weight", "layers.1.q.weight")
    assert not np.array_equal(adapted.losses, plain.losses)
    assert adapted.compiled.ring.inputs("constant")
    with pytest.raises(TaskError, match=r"--lora is given, but .* holds no weights"):
        make_task(tmp_path / "model" / "config.json", replace(size, lora=tmp_path / "lora"))


def test_a_model_directory_brings_its_weights(tmp_path: Path) -> None:
    save_sentence_transformer(tmp_path, "bert")
    task = make_task(tmp_path, Size(tokens=8, layers=1, examples=3))
    assert task.logits.shape == (3, 4)
    assert task.weights["layers.0.ffn_in.weight"].std() == pytest.approx(0.2, rel=0.1)  # the toys', not random_weights'
    whole = run_plan(task.plan, task.weights, {**task.batch.inputs, "z": task.z})
    np.testing.assert_array_equal(whole["loss"], task.losses)


def test_rows_table_csv_and_figure(tmp_path: Path, task: Task) -> None:
    made = engines(
        embedded=lambda: Fake(task, 0.001), ring=absent, semi2k=lambda: Fake(task, 2.0),
        dealer_ring=lambda: Fake(task, float("nan")),
    )  # fmt: skip
    protocols = ["embedded", "ring", "semi2k", "dealer-ring"]
    shown = screen()
    assert comparison.run(task, protocols, Choices(runs=3), tmp_path, shown, made) == 0
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    lines = {line.split("  ")[0]: line for line in text.splitlines() if " majority" in line}
    assert list(lines) == ["embedded", "mp-spdz, ring", "mp-spdz, semi2k", "mp-spdz, dealer-ring"]
    # 0.5 s + 100 rounds + 1.5 MB of the busiest party
    embedded = lines["embedded"].split()
    assert embedded[1:9] == ["semi-honest,", "honest", "majority,", "1", "of", "3", "0.5", "3,"]
    assert embedded[10::2] == ["online,", "prep.", "0.001", "0.584", "4.56", "8.62"]
    assert embedded[13:16] == ["100", "0.001", "7"]
    assert " 3, not told apart " in lines["mp-spdz, semi2k"]
    assert lines["mp-spdz, ring"].split()[-3:] == ["failed"] * 3
    assert "FAILED ring: party 1: ended with code 1: out of memory" in text
    assert "FAILED semi2k: wrong result: 2 from the oracle's, accepted is 0.25" in text
    assert "FAILED dealer-ring: wrong result: nan" in text
    assert "ring 2^64, (f, k) = (16, 31), truncation: probabilistic, one instruction" in text
    written = records(tmp_path)
    assert list(written) == protocols
    row = written["embedded"]
    assert float(row["step_busiest_bytes"]) == 1_500_000
    assert float(row["expected_seconds WAN 100 Mbit/s 80 ms"]) == pytest.approx(0.5 + 8 + 0.12)
    assert (row["security"], row["majority"], row["corruptions"], row["parties"]) == ("semi-honest", "honest", "1", "3")
    assert (row["runs"], row["peak_bytes"], row["failure"]) == ("3", "7000000", "")
    assert written["ring"]["step_seconds"] == ""
    assert written["semi2k"]["truncation"] == "probabilistic, masked opening"
    narrow = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    narrow.print(table([Row("sy-rep-ring", PROMISES["sy-rep-ring"], embedded_numbers())], compact=True))
    assert max(map(len, narrow.file.getvalue().splitlines())) <= 80  # type: ignore[attr-defined]
    assert matplotlib.image.imread(tmp_path / "comparison.png").shape[1] == 1200


def test_exact_rounding_is_said(tmp_path: Path, task: Task) -> None:
    row = measured(tmp_path, task, Choices(runs=1, round_nearest=True), Fake(task))
    assert (row.numbers.truncation, row.numbers.rounding) == ("exact", "to nearest")


def test_online_bytes_are_told_by_the_parties(tmp_path: Path, task: Task) -> None:
    row = measured(tmp_path, task, Choices(runs=2), Telling(task))
    assert row.online_bytes == pytest.approx(2 * 0.4e6 + 2 * 0.1e6 / 3)  # two parties; two steps' batches, the logits'


def test_online_bytes_of_loading_are_measured_apart(tmp_path: Path, task: Task) -> None:
    opened: list[Telling] = []

    def another() -> Telling:
        opened.append(Telling(task, load_bytes=1000))
        return opened[-1]

    row = measure("ring", task, Choices(runs=2), tmp_path, QUIET, engines(ring=another))
    assert row.online_bytes == pytest.approx(2 * 0.4e6)
    assert [engine.steps for engine in opened] == [2, 0]
    assert [engine.loads for engine in opened] == [1, 1]


def test_online_bytes_of_the_embedded_vm_are_its_programs(tmp_path: Path, task: Task) -> None:
    row = measure("embedded", task, Choices(runs=1), tmp_path, QUIET, engines(embedded=lambda: Fake(task)))
    ring = task.compiled.ring
    cost = generation_cost(ring, 2, 2)
    ahead = sum(
        v.size * (2 if v.stage == Stage.CANDIDATE else 4) * traffic(ring, v).corrections / 8
        for v in ring if v.kind == "trunc" and v.stage in (Stage.CANDIDATE, Stage.PAIR)
    )  # fmt: skip
    assert row.online_bytes is not None
    assert 0 < ahead < cost.corrections == cost.bytes - row.online_bytes < 0.7 * cost.bytes


def test_nothing_succeeds(tmp_path: Path, task: Task) -> None:
    assert comparison.run(task, ["ring"], Choices(), tmp_path, screen(), engines(ring=absent)) == 1
    assert records(tmp_path)["ring"]["failure"].startswith("party 1:")


def test_a_protocol_that_takes_too_long(tmp_path: Path, task: Task) -> None:
    slow = Fake(task, pause=0.3)
    row = measured(tmp_path, task, Choices(runs=10, seconds=0.5), slow)
    assert row.failure == "not done after 0.5 s (--timeout)"
    assert len(row.steps) == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def measured(folder: Path, task: Task, choices: Choices, engine: Fake) -> Row:
    return measure("ring", task, choices, folder, QUIET, engines(ring=lambda: engine))


def test_an_interruption_keeps_what_is_done(tmp_path: Path, task: Task) -> None:
    def interrupted() -> Fake:
        raise KeyboardInterrupt

    made = engines(embedded=lambda: Fake(task), ring=interrupted)
    assert comparison.run(task, ["embedded", "ring"], Choices(), tmp_path, screen(), made) == 130
    assert list(records(tmp_path)) == ["embedded"]
    assert (tmp_path / "comparison.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocols", "ring,bgw"], "--protocols names bgw: accepted are embedded, ring, rep4-ring"),
        (["--protocols", ","], "--protocols is empty: accepted are embedded"),
        (
            ["--runs", "0", "--tokens", "1"],
            "--tokens is 1\n  It must be at least 3.\nerror: --runs is 0\n  It must be at least 1.",
        ),
        (["--timeout", "0"], "--timeout is 0.0\n  It must be positive."),
        (["--layers", "3"], "--layers is 3: the model has 2"),
        (["--layers", "1", "--prompt-layer", "1"], "--prompt-layer is 1: of --layers 1, the last is 0"),
        (["--tokens", "21"], "--sequence-length is 21, the model has positions for 20 tokens"),
    ],
)
def test_options_that_are_refused(config: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = compare(config, "--protocols", "embedded", "--tokens", 6, "--out", tmp_path / "out", *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.output
    assert not (tmp_path / "out").exists()


def test_models_and_folders_that_are_refused(config: Path, tmp_path: Path) -> None:
    outcome = compare(tmp_path / "none.json")
    assert outcome.exit_code == 2
    assert "none.json" in outcome.output
    (tmp_path / "t5.json").write_text('{"model_type": "t5"}')
    outcome = compare(tmp_path / "t5.json")
    assert outcome.exit_code == 2
    assert "Accepted: bert, ernie, electra, roberta, xlm-roberta, camembert" in outcome.output
    (tmp_path / "file").write_text("")
    outcome = compare(config, "--protocols", "embedded", *QUICK, "--out", tmp_path / "file")
    assert outcome.exit_code == 2
    assert "--out: cannot write to" in outcome.output


def test_on_the_embedded_vm(config: Path, tmp_path: Path) -> None:
    try:
        find(VM)
    except BinaryMissing as missing:
        pytest.skip(str(missing))
    nowhere = ["--protocols", "embedded,ring", "--mp-spdz", tmp_path / "nowhere"]
    outcome = compare(config, *nowhere, *QUICK, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    written = records(tmp_path / "out")
    row = written["embedded"]
    assert float(row["max_error"]) < 0.02
    assert int(float(row["step_bytes"])) == pytest.approx(3 * float(row["step_busiest_bytes"]), rel=0.1)
    assert min(float(row[name]) for name in ("step_seconds", "step_rounds", "load_bytes", "peak_bytes")) > 0
    assert "no MP-SPDZ at" in written["ring"]["failure"]
    assert "LAN 3 Gbit/s 0.8 ms: --rounds " in outcome.output


@pytest.mark.slow
def test_on_mp_spdz(config: Path, tmp_path: Path) -> None:
    installation("ring")
    outcome = compare(config, "--protocols", "ring", *QUICK, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    row = records(tmp_path / "out")["ring"]
    assert float(row["max_error"]) < 0.02
    assert float(row["step_bytes"]) / 3 <= float(row["step_busiest_bytes"]) < float(row["step_bytes"])
    assert min(float(row[name]) for name in ("step_seconds", "step_rounds", "peak_bytes")) > 0
    assert float(row["step_online_bytes"]) == pytest.approx(float(row["step_bytes"]), rel=0.01)  # it prepares nothing


def test_runs_as_a_file(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("the checkout has no .venv")
    without = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    elsewhere = [place for place in os.environ["PATH"].split(os.pathsep) if Path(place) != Path(sys.executable).parent]
    done = subprocess.run(
        [ROOT / "runtime" / "compare.py", "--help"], cwd=tmp_path, capture_output=True, text=True,
        env={**without, "PATH": os.pathsep.join(elsewhere)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--protocols" in done.stdout
