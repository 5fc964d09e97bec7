"""The same encoder layer on other engines, each in an environment of its own: weights and rows as files, and back what
it computed and what it counted.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from layer import encoder_plan, layer_inputs
from models import FEATURES, RandomWeights, Shape
from rows import Row, measured
from secfwt.codegen.options import GenOptions
from secfwt.codegen.oracle_float import run_plan

SCRIPTS = Path(__file__).parent / "peers"


class PeerError(Exception):
    """A peer that is not there, or that did not finish: the message says why."""


@dataclass(frozen=True)
class Peer:
    """An engine that is not ours."""

    name: str
    module: str
    script: Path
    install: str
    """What its environment needs."""


PEERS = {
    "spu": Peer("SPU", "spu", SCRIPTS / "spu_layer.py", "pip install spu==0.9.5"),
    "crypten": Peer(
        "CrypTen", "crypten", SCRIPTS / "crypten_layer.py",
        "pip install torch pyyaml omegaconf onnx && pip install --no-deps crypten==0.4.1",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class LayerTask:
    """One layer with its weights, rows and the float64 result `[tokens, hidden]`; every attention has all but its own
    weights in common.
    """

    shape: Shape
    tokens: int
    attention: str
    inputs: dict[str, np.ndarray]
    clear: np.ndarray

    def save(self, folder: Path) -> None:
        """As peers/layer_file.py reads it."""
        np.savez(folder / "layer.npz", heads=self.shape.heads, **self.inputs)  # type: ignore[arg-type]


def layer_task(shape: Shape, tokens: int, attention: str) -> LayerTask:
    """The layer that the embedded VM measures, or the same with softmax attention."""
    plan = encoder_plan(shape, tokens, 1, FEATURES, attention)
    weights = RandomWeights(shape, GenOptions(rfa_features=FEATURES), plan)
    inputs = layer_inputs(shape, tokens)
    clear = run_plan(plan, weights, inputs)["rows"].reshape(tokens, shape.hidden)
    given = {name.removeprefix("layers.0."): values for name, values in weights.items()}
    return LayerTask(shape, tokens, attention, {**given, "x": inputs["x"][0]}, clear)


def check(peer: Peer, python: Path | None) -> Path:
    """The peer's interpreter. Raises PeerError where there is none, or where it lacks the peer."""
    option = f"--{peer.module}-python"
    if python is None:
        raise PeerError(f"{peer.name}: no {option}; in an environment of its own: {peer.install}")
    if not python.is_file():
        raise PeerError(f"{peer.name}: {option} {python} is no file")
    known = f"import importlib.util; raise SystemExit(importlib.util.find_spec({peer.module!r}) is None)"
    if subprocess.run([python, "-c", known], capture_output=True).returncode:
        raise PeerError(f"{peer.name}: {python} has no {peer.module}; it needs: {peer.install}")
    return python


def measure(peer: Peer, python: Path, task: LayerTask, runs: int, timeout: float = 1800.0) -> Row:
    """One row. Raises PeerError with the last line it wrote when the peer fails, or takes longer than `timeout`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        task.save(folder)
        command = [python, peer.script, folder, "--attention", task.attention, "--runs", str(runs)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise PeerError(f"{peer.name}: not done after {timeout:.0f} s") from None
        if done.returncode:
            lines = (done.stderr + done.stdout).strip().splitlines()
            raise PeerError(f"{peer.name}: ended with code {done.returncode}: {lines[-1] if lines else 'no message'}")
        report = parse_report(peer, done.stdout)
        result = np.load(folder / "result.npy")
    return measured(
        benchmark="peers",
        attention=task.attention,
        shape=str(task.shape),
        tokens=task.tokens,
        features=FEATURES if task.attention == "rfa" else 0,
        threads=0,
        error=result - task.clear,
        **report,
    )


def parse_report(peer: Peer, output: str) -> dict[str, object]:
    """The last line that a peer printed. Raises PeerError when it is no report."""
    line = output.strip().rpartition("\n")[2]
    try:
        report = json.loads(line)
        wanted = {"engine", "protocol", "parties", "seconds", "bytes_sent", "rounds", "peak_bytes"}
        if report.keys() != wanted or not report["seconds"]:
            raise ValueError(line)
    except (ValueError, AttributeError):
        raise PeerError(f"{peer.name}: its last line is no report: {line[:200]!r}") from None
    return dict(report)
