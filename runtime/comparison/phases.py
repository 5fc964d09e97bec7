"""Which part of a step's bytes is sent online; the rest makes randomness that depends on no input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...codegen.ring.cost import generation_cost
from ..mpspdz.log import Log
from .task import Task


def embedded_online(task: Task) -> float:
    """Bytes of a step on the embedded VM by its program's costs, without the corrections of one-time randomness."""
    cost = generation_cost(task.compiled.ring, len(task.z), len(task.batch))
    return cost.bytes - cost.corrections


def mpspdz_online(logs: Path, steps: float, load_alone: Callable[[Path], None] | None) -> float | None:
    """Bytes of a step on MP-SPDZ; None where a party has not told what it sent online.

    MP-SPDZ tells it for a whole session: here `steps` steps, and the examples. Where loading those sends anything,
    `load_alone` runs another session that does nothing else, with its logs in the folder that it is given. Sharing of
    inputs by clients sends nothing online.
    """
    told = session_online(logs)
    if told is None or load_alone is None:
        return told and told / steps
    load_alone(logs / "loading")
    loading = session_online(logs / "loading")
    return None if loading is None else (told - loading) / steps


def session_online(logs: Path) -> float | None:
    """Bytes that all parties whose logs lie in a folder have sent online, from start to end."""
    said = [Log(path).online_megabytes() for path in logs.glob("party*.log")]
    told = [megabytes for megabytes in said if megabytes is not None]
    return sum(told) * 1e6 if told and len(told) == len(said) else None
