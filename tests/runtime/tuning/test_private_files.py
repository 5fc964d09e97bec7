"""Files of a run are its owner's: who may read them, and whose are read back."""

import stat
from pathlib import Path

import numpy as np
import pytest
from secfwt.runtime.errors import RunFolderError
from secfwt.runtime.tuning.run_folder import TuningRun
from secfwt.runtime.tuning.search import CmaSearch
from secfwt.runtime.tuning.state import TuningState


def saved(path: Path) -> TuningRun:
    folder = TuningRun.create(path, {}, {})
    search = CmaSearch(2, popsize=4, sigma=1.0, bound=0.0, seed=1)
    folder.save_start(TuningState(search, np.zeros(2), start_loss=1.0, start_dev=0.5, best_dev=0.5, best_train=1.0))
    return folder


def test_a_run_is_its_owners_alone(tmp_path: Path) -> None:
    saved(tmp_path / "run").close()
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    for name in ("options.json", "state"):
        assert stat.S_IMODE((tmp_path / "run" / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_state_that_others_may_write_is_not_read(tmp_path: Path, mode: int) -> None:
    folder = saved(tmp_path)
    assert folder.load_state() is not None
    (tmp_path / "state").chmod(mode)
    with pytest.raises(RunFolderError, match="can have been written by somebody else"):
        folder.load_state()
    folder.close()


def test_a_state_of_somebody_else_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path)
    monkeypatch.setattr("os.getuid", lambda: (tmp_path / "state").stat().st_uid + 1)
    with pytest.raises(RunFolderError, match="it must belong to you"):
        folder.load_state()
    folder.close()
