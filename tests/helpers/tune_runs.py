"""Runs of `tune.py` for tests: a toy's data, the command in this process, or as one of its own that loses parties."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commands import Ended, run
from helpers.toys import save_sentence_transformer
from numpy.typing import NDArray
from rich.console import Console
from secfwt.codegen.plan.oracle import run_plan
from secfwt.runtime.commands.tune import main
from secfwt.runtime.progress import make_display
from secfwt.runtime.tuning.model import load_model
from secfwt.runtime.tuning.objective import PromptSpace
from secfwt.runtime.tuning.options import resumed_options
from secfwt.runtime.tuning.session import embed, load_splits

BASE = ["--engine", "clear", "--k-shot", "2", "--prompt-layer", "1", "--popsize", "4", "--intrinsic-dim", "6"]
BASE += ["--attention", "rfa", "--sequence-length", "12", "--n-prompt-tokens", "2", "--eval-every", "1"]


def write_toy(folder: Path) -> tuple[Path, Path]:
    """A model and data for it."""
    model, data = folder / "model", folder / "films.jsonl"
    save_sentence_transformer(model, "bert")
    write_data(data, ("good", "bad"))
    return model, data


def write_data(path: Path, labels: tuple[str, str], extra: str = "") -> None:
    rng = np.random.default_rng(0)
    filler = ["film", "a", "the", "was", "it", "very", "world", "sport", "news"]
    rows = []
    for i in range(24):
        words = [str(w) for w in rng.choice(filler, size=4)]
        words.insert(int(rng.integers(4)), ("good", "bad")[i % 2])
        rows.append(json.dumps({"text": " ".join(words) + extra, "label": labels[i % 2]}))
    path.write_text("\n".join(rows) + "\n")


def tune(*arguments: object) -> Ended:
    return run(main, *arguments)


def start(*arguments: object, generation: int = 1, budget: int = 40000) -> subprocess.Popen[str]:
    """A process, by default with a budget that it does not come to the end of, once it has said that generation."""
    command = [sys.executable, "-u", "-m", "secfwt.runtime.tune", *map(str, arguments), "--budget", str(budget)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not process.stdout.readline().startswith(f"generation {generation}/"):
        assert process.poll() is None, "it ended before"
    return process


def history(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "cost")} for line in lines]


def assert_same_losses(run: Path, clear: Path, error: float) -> None:
    """Losses without a prompt, of the first generation and under the prompt that was found are those in the clear.
    Behind the first generation two candidates that are near each other may change places, and the searches go other
    ways."""
    found, expected = (json.loads((each / "result.json").read_text()) for each in (run, clear))
    for key in ("start_loss", "start_dev"):
        assert found[key] == pytest.approx(expected[key], abs=error), key
    assert history(run)[0]["losses"] == pytest.approx(history(clear)[0]["losses"], abs=error)
    z = np.load(run / "prompt.npz")["z"]
    assert found["best_dev"] == pytest.approx(dev_loss(expected["options"], z), abs=error)


def dev_loss(stored: dict[str, Any], z: NDArray[np.float64]) -> float:
    """What the oracle says of the dev set of a run with these options, under a prompt."""
    options = resumed_options(stored, {})
    splits = load_splits(options)
    model = load_model(options, splits.labels)
    assert model.weights is not None
    dev = embed("dev", splits.dev, model, options, make_display(Console(quiet=True)))
    given = {"z": PromptSpace(model.plan, options.alpha).coordinates(z)[None]}
    return float(run_plan(model.plan, model.weights, dev.batch.inputs | given)["loss"][0])


def ends_for_a_lost_party(process: subprocess.Popen[str], run: Path, seconds: float = 60) -> None:
    _, errors = process.communicate(timeout=seconds)
    assert process.returncode == 3, errors
    assert "error: party" in errors
    assert f"continue with: tune.py --resume {run}" in errors


def goes_on(run: Path) -> None:
    """For one more generation."""
    done = len(history(run))
    assert tune("--resume", run, "--budget", 4 * (done + 1)).exit_code == 0
    assert len(history(run)) == done + 1
