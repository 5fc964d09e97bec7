"""Runs over limited links, next to what `compare.py` expects of them: seconds here + rounds × latency + bytes ÷ rate.

    python benchmarks/run.py links
    python benchmarks/run.py links --what tune --network 2 3

All between the processes goes through proxies of this one: a party's messages leave at the network's rate, to both
others together, and arrive its latency later. Seconds here are measured through proxies that neither wait nor limit.
`tune` is the default run of `tune.py`, parties and owners apart; `forward` is BERT-base, 128 tokens; `mp-spdz` is one
generation of four candidates on four examples of the same model, protocol `ring`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from secfwt.codegen.bundle import write_bundle
from secfwt.codegen.compile import EXAMPLES
from secfwt.codegen.native.network import NETWORKS
from secfwt.codegen.native.network import Network as Rates
from secfwt.runtime.embedded.processes import LocalParties, vm_command
from secfwt.runtime.errors import SecfwtError
from secfwt.runtime.mpspdz.local import options_for
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.tuning.model import load_model
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.session import load_splits

import rows
from performance import layer
from performance.models import FEATURES, SHAPES
from processes.network import Network
from processes.service import PARTIES, ROLES, EngineName, Prepared, Service

SMALL = 4
"""Examples of every set, and candidates, of the run on MP-SPDZ."""
SESSION = re.compile(r"session over: ([\d.]+) s computing, ([\d.]+) MB sent, (\d+) rounds")
RUN_SECONDS = 3600.0


@dataclass(frozen=True)
class Spent:
    """What a run has cost: seconds and rounds of the slowest party, bytes of that which sends most."""

    seconds: float
    busiest_bytes: float
    rounds: int


@dataclass(frozen=True, kw_only=True)
class LinkRow:
    """One run over one network."""

    what: str
    network: str
    seconds: float
    """Of the parties, while they carry out commands."""
    expected_seconds: float
    ratio: float
    """Measured over expected."""
    seconds_here: float
    """The same run without latency and limit."""
    rounds: int
    busiest_megabytes: float
    commit: str
    command: str

    def __str__(self) -> str:
        return (
            f"{self.what}, {self.network}: {self.seconds:.1f} s, expected {self.expected_seconds:.1f} "
            f"({self.ratio:.2f}): {self.seconds_here:.1f} s here, {self.rounds} rounds, "
            f"{self.busiest_megabytes:.1f} MB of a party"
        )


class LinkedParties(LocalParties):
    """Three local parties that reach each other through a network."""

    def __init__(self, network: Network, deployment: Deployment, program: Path, logs: Path) -> None:
        super().__init__(deployment, program, logs)
        self._commands = [vm_command(_seen_by(i, deployment, network), i, program) for i in range(3)]


def _seen_by(own: int, deployment: Deployment, network: Network) -> Deployment:
    seen = [
        each if i == own else each.model_copy(update={"port": network.port(PARTIES[own], PARTIES[i], each.port)})
        for i, each in enumerate(deployment.parties)
    ]
    return deployment.model_copy(update={"parties": tuple(seen)})


def forward(network: Network) -> Spent:
    """BERT-base, one text of 128 tokens."""
    shape = SHAPES["bert-base"]
    row = layer.measure(shape, 128, shape.layers, "rfa", FEATURES, 1, 1, partial(LinkedParties, network))
    return Spent(row.seconds, row.megabytes * 1e6 / 3, row.rounds)


def tuning(prepared: Prepared, network: Network) -> Spent:
    """A run of `tune.py` to its end, on parties and owners of their own. Raises SecfwtError."""
    embedded = prepared.engine == "embedded"
    with TemporaryDirectory(prefix="secfwt-links-") as name:
        service = Service(prepared, Path(name), dict.fromkeys(ROLES, Path(name)), network)
        try:
            service.start_parties()
            model_owner = service.start_model_owner()
            if embedded and model_owner.wait(RUN_SECONDS) != 0:
                raise SecfwtError(f"the weights were not shared: {model_owner.lines[-1:]}")
            data_owner = service.start_search()
            if data_owner.wait(RUN_SECONDS) != 0:
                raise SecfwtError(f"the run did not end: {data_owner.lines[-1:]}")
            if embedded:
                cost = json.loads((service.run / "result.json").read_text())["cost"]
                return Spent(cost["seconds"], cost["bytes_sent"] / 3, cost["rounds"])
            return slowest([_session(service, role) for role in PARTIES])
        finally:
            service.close()


def _session(service: Service, role: str) -> Sequence[str]:
    process = service.processes[role]
    if not process.says("session over", 30):
        raise SecfwtError(f"{role} does not say what the session cost: {process.lines[-1:]}")
    return next(found.groups() for line in process.lines if (found := SESSION.search(line)))


def slowest(costs: Sequence[Sequence[str]]) -> Spent:
    """Of all parties' seconds, megabytes and rounds."""
    seconds, megabytes, rounds = zip(*costs, strict=True)
    return Spent(max(map(float, seconds)), max(map(float, megabytes)) * 1e6, max(map(int, rounds)))


@contextmanager
def prepared(engine: EngineName) -> Iterator[Prepared]:
    """The default run's bundle with its data; MP-SPDZ's with less of it."""
    options = TuneOptions(prototype_shots=None if engine == "embedded" else 0.0)
    splits = load_splits(options)
    compiled = load_model(options, splits.labels, splits.places).compiled
    assert compiled is not None
    with TemporaryDirectory(prefix="secfwt-bundle-") as name:
        folder = Path(name)
        make_certificates(folder / "certificates")
        write_bundle(compiled, folder / "bundle", target=engine, mp_spdz=options_for("ring", [SMALL] * 3))
        data = [] if engine == "embedded" else _small(folder)
        yield Prepared(engine, folder / "bundle", folder / "certificates", data)


def _small(folder: Path) -> list[str]:
    """Options of one generation on sets of a few examples."""
    words = ["--k-shot", "1", "--popsize", str(SMALL), "--budget", str(SMALL), "--data"]
    words.append(str(EXAMPLES / "topics" / "train.jsonl"))
    for part in ("dev", "test"):
        with (EXAMPLES / "topics" / f"{part}.jsonl").open(encoding="utf-8") as lines:
            (folder / f"{part}.jsonl").write_text("".join(islice(lines, SMALL)), encoding="utf-8")
        words += [f"--{part}", str(folder / f"{part}.jsonl")]
    return words


def over(what: str, networks: Sequence[Rates], run: Callable[[Network], Spent]) -> Iterator[LinkRow]:
    """A row per network, after the same run without limits."""
    here = _through(Network(0.0), run)
    for rates in networks:
        spent = _through(Network(rates.latency, rates.bits_per_second / 8), run)
        expected = rates.seconds(here.seconds, spent.rounds, spent.busiest_bytes)
        yield LinkRow(
            what=what, network=str(rates), seconds=spent.seconds, expected_seconds=expected,
            ratio=spent.seconds / expected, seconds_here=here.seconds, rounds=spent.rounds,
            busiest_megabytes=spent.busiest_bytes / 1e6, commit=rows.commit(), command=rows.command(),
        )  # fmt: skip


def _through(network: Network, run: Callable[[Network], Spent]) -> Spent:
    try:
        return run(network)
    finally:
        network.close()


@contextmanager
def runner(what: str) -> Iterator[Callable[[Network], Spent]]:
    """What measures one of `WHAT` on a network."""
    if what == "forward":
        yield forward
    else:
        with prepared("mp-spdz" if what == "mp-spdz" else "embedded") as ready:
            yield partial(tuning, ready)


WHAT = ("tune", "forward", "mp-spdz")


def main(options: argparse.Namespace) -> None:
    """Measure and record, a row as soon as it is known."""
    for what in options.what:
        with runner(what) as run:
            for row in over(what, [NETWORKS[number - 1] for number in options.network], run):
                rows.record("links", row, options.dry)


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    known = ", ".join(f"{number} {network}" for number, network in enumerate(NETWORKS, 1))
    numbers = range(1, len(NETWORKS) + 1)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--network", nargs="+", type=int, choices=numbers, default=numbers, help=known)
    parser.add_argument("--dry", action="store_true", help="print only, add no row")
