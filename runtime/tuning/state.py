"""What changes from generation to generation, and its pickle, which is read back without running what a state never is.

A pickle names the classes and functions that it is made of. `loads` looks up only those that a search's state holds and
refuses all others by name. That is a second line: pycma evaluates some of its own options, so that a forged state of
admitted classes could still run code. The first line is the run folder's: a state that somebody else owns or may write
is not read.
"""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from numpy.random import RandomState

from ..engine import Cost, Floats
from .search import CmaSearch, LayerwiseSearch, Search


@dataclass
class TuningState:
    """All that a resumed run goes on from. Losses are means over a set; `best_z` is the prompt best on dev, `[d]`."""

    search: Search
    best_z: Floats
    start_loss: float
    start_dev: float
    best_dev: float
    best_train: float
    generation: int = 0
    evaluations: int = 0
    rejected: int = 0
    unhealthy: int = 0
    cost: Cost = field(default_factory=Cost)
    phases: dict[str, Cost] = field(default_factory=dict)
    """The cost by phase."""
    shots: float = 0.0
    """Weight that the shots have in the head."""
    opened: dict[str, int] = field(default_factory=dict)
    """Numbers of every output that were opened; not those of a generation that was interrupted."""

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Earlier versions kept no phases, and counted nothing."""
        self.__dict__.update({"phases": {"before": kept["cost"]}, "opened": {}} | kept)


def _randn(owner: object, name: str) -> object:
    """In the place of `getattr`, by which a pickle holds the search's normal deviates: a bound method."""
    if not isinstance(owner, RandomState) or name != "randn":
        raise pickle.UnpicklingError(f"it reads {name!r} of a {type(owner).__name__}, which no state does")
    return owner.randn


ADMITTED: dict[str, Any] = {
    "builtins.getattr": _randn,
    "secfwt.runtime.engine.Cost": Cost,
    "secfwt.runtime.tuning.state.TuningState": TuningState,
    "secfwt.runtime.tuning.search.CmaSearch": CmaSearch,
    "secfwt.runtime.tuning.search.LayerwiseSearch": LayerwiseSearch,
    # names of earlier versions
    "secfwt.runtime.tuning.run_folder.State": TuningState,
    "secfwt.runtime.run_folder.State": TuningState,
    "secfwt.runtime.search.CmaSearch": CmaSearch,
    "secfwt.runtime.search.LayerwiseSearch": LayerwiseSearch,
}
"""What a name in a pickle stands for."""
FOREIGN = frozenset(
    [
        *(f"builtins.{kind}" for kind in ("bytearray", "complex", "frozenset", "range", "set", "slice")),
        "collections.OrderedDict",
        "cma.evolution_strategy._pass",
        "cma.options_parameters.is_feasible",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.linalg.eigh",
        "numpy.random._mt19937.MT19937",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__randomstate_ctor",
        *(f"numpy.{core}.multiarray.{name}" for core in ("_core", "core") for name in ("_reconstruct", "scalar")),
        *(f"numpy.{core}.numeric._frombuffer" for core in ("_core", "core")),
    ]
)
"""Names that stand for themselves, besides pycma's classes: those are many, and others in other versions (4.0 to 4.5
were looked at)."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        whole = f"{module}.{name}"
        if whole in ADMITTED:
            return ADMITTED[whole]
        if whole in FOREIGN:
            return super().find_class(module, name)
        if module.startswith("cma."):
            import_module("cma")  # brings the modules that a state names: no other is imported for it
            found = getattr(sys.modules.get(module), name, None)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"it names {whole}, which no state is made of")


def dumps(state: TuningState) -> bytes:
    """The whole state, the search's random generator included: what `loads` gives back goes on identically."""
    return pickle.dumps(state)


def loads(content: bytes) -> TuningState:
    """Inverse of `dumps`, also for states of earlier versions. Raises ValueError that says what is wrong."""
    try:
        state = _Unpickler(io.BytesIO(content)).load()
    except Exception as error:  # unpickling can raise anything
        raise ValueError(f"cannot be read: {error}") from None
    if not isinstance(state, TuningState):
        raise ValueError("is not the state of a run")
    return state
