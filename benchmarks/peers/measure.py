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
from secfwt.runtime.errors import SecfwtError

from performance.layer import LayerTask
from performance.models import FEATURES
from rows import Row, measured

SCRIPTS = Path(__file__).parent


class PeerError(SecfwtError):
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
        "pip install torch numpy pyyaml omegaconf && pip install --no-deps crypten==0.4.1",
    ),
}  # fmt: skip


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
        np.savez(folder / "layer.npz", heads=task.shape.heads, **task.inputs)  # type: ignore[arg-type]
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
        tokens=len(task.clear),
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
