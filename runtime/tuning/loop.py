"""The tuning loop at the data owner: ask CMA-ES, evaluate a generation in one step, tell, save, show."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np

from ..engine import Cost, Engine, Floats
from ..progress import Display, Status
from .objective import Objective
from .options import SearchOptions
from .run_folder import TuningRun
from .search import CmaSearch, LayerwiseSearch, Search
from .state import TuningState


@dataclass(frozen=True)
class Outcome:
    """What a run reached. Losses are means over a set; accuracies are shares; None where there is no test set."""

    generations: int
    evaluations: int
    rejected: int
    start_loss: float
    best_loss: float
    start_dev: float
    best_dev: float
    test_zero_shot: float | None
    test_tuned: float | None
    test_examples: int
    stopped: str
    cost: Cost
    best_z: Floats


def tune(objective: Objective, options: SearchOptions, run: TuningRun, display: Display) -> Outcome:
    """Search until the budget is spent or CMA-ES has converged, then measure the best prompt on the test set.

    The best prompt is the one with the lowest dev loss among z = 0, the best candidate and the mean of the search
    distribution at every dev evaluation. State is saved after every generation; a run folder that holds a state
    continues from there. Raises SearchError, RunFolderError and whatever the engine raises.
    """
    for name in ("train", "dev"):
        objective.load(name)
    resumed = run.load_state()
    spent_before = resumed.cost if resumed else Cost()
    state = resumed or _start(objective, options, run)
    display.start(state.generation, options.generations)
    stopped = "budget spent"
    try:
        while state.generation < options.generations:
            if reason := state.search.converged:
                stopped = f"converged ({reason})"
                break
            _generation(objective, options, run, state, spent_before, display)
    finally:
        display.stop()
    return _finish(objective, state, stopped, spent_before)


def _start(objective: Objective, options: SearchOptions, run: TuningRun) -> TuningState:
    zero = np.zeros((1, options.dim))
    train, dev = (float(objective.losses(name, zero)[0]) for name in ("train", "dev"))
    state = TuningState(_search(options), zero[0], train, dev, best_dev=dev, best_train=train)
    state.cost = total(Cost(), objective.engine)
    run.save_start(state)
    return state


def _search(options: SearchOptions) -> Search:
    if options.prompts == 1:
        return CmaSearch(
            options.dim, popsize=options.popsize, sigma=options.sigma, bound=options.bound, seed=options.seed
        )
    return LayerwiseSearch(
        options.prompts, options.dim // options.prompts, popsize=options.popsize, sigma=options.sigma,
        bound=options.bound, seed=options.seed,
    )  # fmt: skip


def _generation(
    objective: Objective,
    options: SearchOptions,
    run: TuningRun,
    state: TuningState,
    spent_before: Cost,
    display: Display,
) -> None:
    began = time.monotonic()
    z = state.search.ask()
    losses = objective.losses("train", z)
    rejected = state.search.tell(z, losses)
    if rejected:
        display.note(f"generation {state.generation + 1}: {rejected} of {len(z)} candidates rejected, loss not finite")
    state.generation += 1
    state.evaluations += len(z)
    state.rejected += rejected
    best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
    state.best_train = min(state.best_train, float(losses[best]))
    line = {
        "generation": state.generation,
        "evaluations": state.evaluations,
        "losses": [float(v) if np.isfinite(v) else None for v in losses],
        "sigma": state.search.sigma,
    }
    if state.generation % options.eval_every == 0 or state.generation == options.generations:
        contenders = np.stack([z[best], state.search.mean])
        dev = objective.losses("dev", contenders)
        line["dev"] = [float(v) if np.isfinite(v) else None for v in dev]
        for loss, contender in zip(dev, contenders, strict=True):
            if loss < state.best_dev:
                state.best_dev, state.best_z = float(loss), contender
    state.cost = total(spent_before, objective.engine)
    line["seconds"] = round(time.monotonic() - began, 3)
    line["cost"] = asdict(state.cost)
    run.save_generation(line, state)
    display.update(
        Status(
            state.generation, options.generations, state.best_train, state.best_dev, state.evaluations,
            state.cost.bytes_sent,
        )
    )  # fmt: skip


def _finish(objective: Objective, state: TuningState, stopped: str, spent_before: Cost) -> Outcome:
    zero_shot = tuned = None
    if "test" in objective.sets:
        objective.load("test")
        zero_shot = tuned = objective.accuracy("test", np.zeros_like(state.best_z))
        if np.any(state.best_z):
            tuned = objective.accuracy("test", state.best_z)
    return Outcome(
        generations=state.generation,
        evaluations=state.evaluations,
        rejected=state.rejected,
        start_loss=state.start_loss,
        best_loss=state.best_train,
        start_dev=state.start_dev,
        best_dev=state.best_dev,
        test_zero_shot=zero_shot,
        test_tuned=tuned,
        test_examples=len(objective.sets["test"].labels) if "test" in objective.sets else 0,
        stopped=stopped,
        cost=total(spent_before, objective.engine),
        best_z=state.best_z,
    )


def total(before: Cost, engine: Engine) -> Cost:
    """Cost of earlier sessions of the run plus what the engine has spent in this one."""
    now = engine.cost()
    return Cost(
        seconds=before.seconds + now.seconds,
        bytes_sent=before.bytes_sent + now.bytes_sent,
        rounds=before.rounds + now.rounds,
        peak_bytes=max(before.peak_bytes, now.peak_bytes),
        steps=before.steps + now.steps,
    )
