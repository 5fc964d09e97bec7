"""CMA-ES in the clear at the data owner: ask for candidate vectors, tell their losses (pycma behind three methods)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..engine import Floats
from ..errors import SecfwtError


class SearchError(SecfwtError):
    """The search cannot go on: too few candidates had a loss that can be."""


class Search(Protocol):
    """A minimiser that is asked for candidates and told their losses; its pickle is its whole state."""

    def ask(self) -> Floats:
        """Candidates of one generation, `[popsize, d]`."""

    def tell(self, z: Floats, losses: Floats) -> int:
        """Losses of those candidates; returns how many were rejected because theirs is not finite."""

    @property
    def mean(self) -> Floats:
        """Centre of the search, `[d]`."""

    @property
    def sigma(self) -> float:
        """Present step size."""

    @property
    def converged(self) -> str | None:
        """Why there is nothing left to gain, if so."""


class CmaSearch:
    """Minimise a function of z ∈ R^d from z = 0 (Hansen 2016; the search of Black-Box Tuning, Sun et al. 2022).

    The object owns its random generator, so that its pickled state continues with exactly the same candidates.
    `bound` > 0 keeps every coordinate of z in [-bound, bound].
    """

    def __init__(self, dim: int, *, popsize: int, sigma: float, bound: float = 0.0, seed: int) -> None:
        options = {
            "popsize": popsize,
            "bounds": [-bound, bound] if bound > 0 else [None, None],
            "randn": np.random.RandomState(seed).randn,
            "seed": np.nan,
            "verbose": -9,
            "verb_log": 0,
            "signals_filename": "",
        }
        if dim == 1 and bound > 0:  # pycma fails where it would keep a single coordinate's step below this
            options["maxstd"], sigma = np.inf, min(sigma, 2 * bound / 3)
        import cma  # a second: it brings pyplot

        self._strategy: Any = cma.CMAEvolutionStrategy(np.zeros(dim), sigma, options)

    def ask(self) -> Floats:
        """Candidates of one generation, `[popsize, d]`."""
        return np.array(self._strategy.ask(), dtype=np.float64)

    def tell(self, z: Floats, losses: Floats) -> int:
        """Update with `losses[i]` of `z[i]`; returns how many were rejected because their loss was not finite.

        A rejected candidate takes no part in the update (pycma would replace its loss in silence). Raises SearchError
        when fewer than half are left, because the recombination weights need that many.
        """
        finite = np.isfinite(losses)
        if 2 * int(finite.sum()) < len(losses):
            raise SearchError(
                f"{int((~finite).sum())} of {len(losses)} candidates have no loss that can be: the prompt leaves "
                "the ranges the program was fitted for; lower --sigma or --alpha, or set --bound"
            )
        self._strategy.tell(list(z[finite]), [float(v) for v in losses[finite]])
        return int((~finite).sum())

    @property
    def mean(self) -> Floats:
        """Centre of the search distribution, `[d]`: less noisy than any single candidate."""
        return np.array(self._strategy.result.xfavorite, dtype=np.float64)

    @property
    def sigma(self) -> float:
        """Present step size."""
        return float(self._strategy.sigma)

    @property
    def converged(self) -> str | None:
        """The first of pycma's own stopping conditions that holds, if any."""
        return next(iter(self._strategy.stop()), None)


class LayerwiseSearch:
    """One CMA-ES for each layer's prompt, in turn: a generation moves one prompt and leaves the others at their centres
    (Black-Box Tuning v2, Sun et al. 2022, algorithm 1). z `[layers · d]` holds the prompts' vectors one after another.
    """

    def __init__(self, layers: int, dim: int, *, popsize: int, sigma: float, bound: float = 0.0, seed: int) -> None:
        self._searches = [
            CmaSearch(dim, popsize=popsize, sigma=sigma, bound=bound, seed=seed + i) for i in range(layers)
        ]
        self._dim = dim
        self._turn = 0

    @property
    def _moving(self) -> slice:
        return slice(self._turn * self._dim, (self._turn + 1) * self._dim)

    def ask(self) -> Floats:
        """Candidates that differ in one layer's prompt, `[popsize, layers · d]`."""
        moved = self._searches[self._turn].ask()
        z = np.tile(self.mean, (len(moved), 1))
        z[:, self._moving] = moved
        return z

    def tell(self, z: Floats, losses: Floats) -> int:
        """As `CmaSearch.tell`, for the layer whose turn it is; then it is the next one's."""
        rejected = self._searches[self._turn].tell(z[:, self._moving], losses)
        self._turn = (self._turn + 1) % len(self._searches)
        return rejected

    @property
    def mean(self) -> Floats:
        """All layers' centres, `[layers · d]`."""
        return np.concatenate([search.mean for search in self._searches])

    @property
    def sigma(self) -> float:
        """The largest step size of any layer."""
        return max(search.sigma for search in self._searches)

    @property
    def converged(self) -> str | None:
        """The reason of the last layer to stop, once all have."""
        reasons = [search.converged for search in self._searches]
        return reasons[-1] if all(reasons) else None
