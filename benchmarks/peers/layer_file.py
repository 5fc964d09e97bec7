"""What a peer's script is given and gives back: numpy alone, because every peer runs in an environment of its own.

`FOLDER/layer.npz` holds one encoder layer: rows `x` `[tokens, hidden]`, matrices in torch's `[out, in]` layout, names
as in codegen/model/weights.py without the layer's number, and `heads`. The script writes `FOLDER/result.npy` and
prints one line of JSON, a `Report`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import queue
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Report:
    """What a peer measured: seconds of the slowest party a run, the cold one first, and the cost of the last run."""

    engine: str
    protocol: str
    parties: int
    seconds: list[float]
    bytes_sent: int
    """Of all parties."""
    rounds: int
    """Messages that the party with most of them waited for."""
    peak_bytes: int
    """Of the largest party."""


@dataclass(frozen=True)
class Task:
    """The layer to run."""

    folder: Path
    attention: str
    runs: int
    heads: int
    inputs: dict[str, np.ndarray]
    """The rows `x` and the weights, all of them secret."""


def read_task() -> Task:
    """From the command line: `FOLDER --attention softmax|rfa --runs N`."""
    parser = argparse.ArgumentParser(description="Runs the layer in FOLDER; started by benchmarks/run.py peers.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--attention", choices=("softmax", "rfa"), default="softmax")
    parser.add_argument("--runs", type=int, default=3, help="after a cold one")
    options = parser.parse_args()
    with np.load(options.folder / "layer.npz") as file:
        inputs = dict(file)
    return Task(options.folder, options.attention, options.runs, int(inputs.pop("heads")), inputs)


def run_parties(party: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """What `party(*arguments[i], put)` gives to `put` in a process of its own, for every i; exits when one fails."""
    context = multiprocessing.get_context("spawn")
    answers = [context.Queue() for _ in arguments]
    parties = [
        context.Process(target=party, args=(*own, answer.put), daemon=True)
        for own, answer in zip(arguments, answers, strict=True)
    ]
    for each in parties:
        each.start()
    return [_answer(answer, parties) for answer in answers]


def _answer(answer: Any, parties: list[Any]) -> Any:
    while True:
        try:
            return answer.get(timeout=1)
        except queue.Empty:
            if failed := [i for i, each in enumerate(parties) if each.exitcode]:
                raise SystemExit(f"party {failed[0]} ended with code {parties[failed[0]].exitcode}") from None


def finish(task: Task, result: np.ndarray, report: Report) -> None:
    """Hand the result and the measurements over."""
    np.save(task.folder / "result.npy", np.asarray(result, np.float64))
    print(json.dumps(asdict(report)), flush=True)


def peak_memory() -> int:
    """Largest resident set of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
