"""The pickle of a search's state: goes on identically, under names of earlier versions too, and holds nothing else."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cma
import numpy as np
import pytest
from secfwt.runtime import engine, run_folder
from secfwt.runtime.errors import RunFolderError
from secfwt.runtime.tuning.run_folder import TuningRun
from secfwt.runtime.tuning.search import CmaSearch, LayerwiseSearch, Search
from secfwt.runtime.tuning.state import TuningState, dumps, loads

SEARCHES = {
    "one": lambda: CmaSearch(4, popsize=6, sigma=0.5, seed=1),
    "few": lambda: CmaSearch(6, popsize=4, sigma=0.5, seed=1),
    "many": lambda: CmaSearch(2, popsize=40, sigma=0.5, seed=1),
    "bounded": lambda: CmaSearch(4, popsize=6, sigma=0.5, bound=0.5, seed=1),
    "layerwise": lambda: LayerwiseSearch(2, 4, popsize=6, sigma=0.5, seed=1),
}


def generation(search: Search, bad: int = 0) -> np.ndarray:
    z = search.ask()
    losses = np.square(z - 0.3).sum(axis=1)
    losses[:bad] = np.nan
    search.tell(z, losses)
    return z


def a_state(search: Search) -> TuningState:
    cost = engine.Cost(seconds=1.5, bytes_sent=2, rounds=3, peak_bytes=4, steps=5)
    return TuningState(search, search.mean, np.float64(1.0), 0.5, 0.5, 1.0, generation=3, cost=cost)


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_of_any_kind_goes_on_identically(kind: str) -> None:
    search = SEARCHES[kind]()
    for i in range(60):
        if i in (0, 1, 25, 59):  # some of pycma's parts come late
            state = loads(dumps(a_state(search)))
            assert np.array_equal(state.best_z, search.mean)
            assert (state.generation, state.cost.bytes_sent) == (3, 2)
            search, copy = state.search, search
            assert np.array_equal(generation(copy), generation(search))
        generation(search, bad=0 if kind == "few" else i % 3)  # pycma warns of rejected ones among so few


def test_a_new_process_reads_a_state(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(dumps(a_state(SEARCHES["bounded"]())))
    code = "import secfwt.runtime.tuning.state as s; print(s.loads(open('state', 'rb').read()).generation)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr


@pytest.mark.parametrize(
    ("of_state", "of_search"),
    [
        ("secfwt.runtime.run_folder", "secfwt.runtime.search"),
        ("secfwt.runtime.tuning.run_folder", "secfwt.runtime.tuning.search"),
    ],
)
@pytest.mark.parametrize("kind", SEARCHES)
def test_states_of_earlier_versions_are_read(
    of_state: str, of_search: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = SEARCHES[kind]()
    generation(search)
    old = under_old_names(a_state(search), of_state, of_search, monkeypatch)
    for name in (f"{of_state}\x94\x8c\x05State", of_search, "secfwt.runtime.engine"):
        assert name.encode("latin-1") in old
    state = loads(old)
    assert type(state) is TuningState
    assert type(state.search) is type(search)
    assert np.array_equal(generation(state.search), generation(search))


def under_old_names(state: TuningState, of_state: str, of_search: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The pickle that a process would have written whose classes stood in other modules."""
    places = {"State": of_state, "CmaSearch": of_search, "LayerwiseSearch": of_search}
    classes = {name: type(name, (), {"__module__": module}) for name, module in places.items()}

    def moved(thing: object, name: str) -> Any:
        copy = classes[name]()
        copy.__dict__.update(vars(thing))
        return copy

    old = moved(state, "State")
    old.search = moved(state.search, type(state.search).__name__)
    if isinstance(state.search, LayerwiseSearch):
        old.search._searches = [moved(each, "CmaSearch") for each in state.search._searches]
    with monkeypatch.context() as patch:
        for name, module in places.items():
            if module not in sys.modules:
                patch.setitem(sys.modules, module, ModuleType(module))
            patch.setattr(sys.modules[module], name, classes[name], raising=False)
        return pickle.dumps(old)


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        (Call(os.system, "touch forged"), "posix.system"),
        (Call(eval, "open('forged', 'w')"), "builtins.eval"),
        (Call(cma.fmin, print, [0.0, 0.0], 1.0), "cma.evolution_strategy.fmin"),
        (Call(getattr, CmaSearch, "__init__"), "'__init__' of a type"),
        (run_folder.RunFolder, "secfwt.runtime.run_folder.RunFolder"),
        (Path("x"), "pathlib."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_state_that_names_anything_else_is_refused_and_not_run(
    forged: object, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = TuningRun.create(tmp_path / "run", {}, {})
    state = a_state(CmaSearch(2, popsize=4, sigma=1.0, seed=1))
    state.best_z = forged  # type: ignore[assignment]
    folder.replace("state", pickle.dumps(state))
    with pytest.raises(RunFolderError, match=rf"run/state cannot be read: it .*{named}.*, which no state"):
        folder.load_state()
    folder.close()
    assert not (tmp_path / "forged").exists()


@pytest.mark.parametrize("name", ["os", "os.system", "np", "fmin", "CMAEvolutionStrategy.__init__"])
def test_only_classes_of_pycma_are_looked_up_in_it(name: str) -> None:
    module = b"cma.evolution_strategy"
    raw = name.encode()
    forged = b"\x80\x04\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(raw)]) + raw + b"\x93."
    with pytest.raises(ValueError, match=f"it names cma.evolution_strategy.{name}, which"):
        loads(forged)
