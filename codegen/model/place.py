"""Whether there is a model where one was named."""

from __future__ import annotations

from pathlib import Path

from ..commandline.problems import Problem, ProblemsFound


def check_place(path: Path) -> None:
    """Raise `ProblemsFound` where there is neither a file nor a folder: a name on the Hugging Face hub is none."""
    if not path.exists():
        advice = (
            "Give a model directory, or a config.json. Models are not downloaded: fetch one first, as with "
            "hf download ORGANISATION/NAME --local-dir DIR."
        )
        raise ProblemsFound([Problem("error", f"there is no model at {path}", advice)])
