"""A conversion's folder: what it goes on from, and that one process at a time does."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from secfwt.runtime.adaptation.options import ConversionError, ConvertOptions  # noqa: E402
from secfwt.runtime.adaptation.training import TrainingState, dumps  # noqa: E402
from secfwt.runtime.conversion.run_folder import ConversionRun  # noqa: E402
from secfwt.runtime.errors import RunFolderError  # noqa: E402

OPTIONS = ConvertOptions("model", "out", ("texts.txt",))
CPU = torch.device("cpu")


def test_a_conversion_goes_on_from_its_last_state(tmp_path: Path) -> None:
    run = ConversionRun.create(tmp_path / "run", OPTIONS)
    assert run.load_state(CPU) is None
    for stage, step in (("layers", 1), ("layers", 2), ("whole", 1), ("whole", 2)):
        run.log({"stage": stage, "step": step})
    run.save_state(dumps(TrainingState(stage=1, step=1, parameters={"a": torch.ones(2, requires_grad=True)})))
    run.log({"stage": "whole", "step": 3})
    run.close()
    again, options = ConversionRun.open(tmp_path / "run")
    state = again.load_state(CPU)
    assert options == OPTIONS
    assert state is not None
    assert (state.stage, state.step, state.parameters["a"].tolist()) == (1, 1, [1.0, 1.0])
    assert [line["step"] for line in again.history()] == [1, 2, 1]
    again.close()


def test_one_process_at_a_time_and_for_its_owner_alone(tmp_path: Path) -> None:
    run = ConversionRun.create(tmp_path / "run", OPTIONS)
    with pytest.raises(RunFolderError, match="another process is writing to this run folder"):
        ConversionRun.open(tmp_path / "run")
    run.log({"stage": "layers", "step": 1})
    run.save_state(dumps(TrainingState()))
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in run.path.iterdir()} == {0o600}
    run.close()


def test_a_state_is_read_as_tensors_only(tmp_path: Path) -> None:
    run = ConversionRun.create(tmp_path / "run", OPTIONS)
    torch.save({"stage": print}, run.path / "state.pt")
    with pytest.raises(ConversionError, match=r"--resume .*/run: state.pt cannot be read"):
        run.load_state(CPU)
    run.close()


def test_options_stay_as_they_were_typed(tmp_path: Path) -> None:
    ConversionRun.create(tmp_path / "run", OPTIONS).close()
    text = (tmp_path / "run" / "options.json").read_text()
    assert text.startswith('{\n "options": {\n  "model": "model",')
    assert json.loads(text)["options"]["text"] == ["texts.txt"]
