"""The tuning loop at the data owner: ask CMA-ES, evaluate a generation in one step, tell, save, show."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from ..engine import Account, Cost, Floats
from ..evaluation.results import TUNED, UNTUNED
from ..privacy import Mechanism
from ..progress import Display, Status
from ..run_folder import Json
from .budget import check_budget, losses_by_set, shown
from .objective import Evaluation, Objective, likely_weight, tried_weights
from .options import SearchOptions
from .run_folder import TuningRun
from .search import CmaSearch, LayerwiseSearch, Search, SearchError
from .state import TuningState

Watch = Callable[[Json], None]
SHARING, UNTUNED_LOSSES, SEARCH, CHOICE, TEST = "examples", "losses without a prompt", "search", "dev choice", "test"
"""Phases of a run, by which its cost is told."""


@dataclass(frozen=True)
class Privacy:
    """What the noise on a run's losses keeps private."""

    epsilon: float
    delta: float
    losses: dict[str, int]
    """By set, also those of generations that were interrupted."""
    statement: str

    @classmethod
    def of(cls, mechanism: Mechanism, asked: Mapping[str, int]) -> Privacy:
        """Of a run that has asked for so many losses of each set."""
        return cls(mechanism.epsilon(asked), mechanism.delta, dict(asked), mechanism.statement(asked))


@dataclass(frozen=True)
class Outcome:
    """What a run reached. Losses are means over a set; accuracies are shares; None where there is no test set."""

    generations: int
    evaluations: int
    rejected: int
    unhealthy: int
    """Generations in which rows had a wrong length."""
    start_loss: float
    best_loss: float
    start_dev: float
    best_dev: float
    test_zero_shot: float | None
    test_tuned: float | None
    test_examples: int
    test_logits: dict[str, Floats]
    """Of the test set `[E, L]`, by the names of the prompts they were opened under."""
    stopped: str
    cost: Cost
    phases: dict[str, Cost]
    opened: dict[str, int]
    """Losses and rows of logits; not those of generations that were interrupted."""
    best_z: Floats
    shots: float = 0.0
    """Weight of the shots in the head."""
    privacy: Privacy | None = None
    """With noise on losses."""


def tune(
    objective: Objective,
    options: SearchOptions,
    run: TuningRun,
    display: Display,
    watch: Watch = lambda line: None,
) -> Outcome:
    """Search until the budget is spent or CMA-ES has converged, then measure the best prompt on the test set.

    The best prompt is the one with the lowest dev loss among z = 0, the best candidate and the mean of the search
    distribution at every dev evaluation; `keep_beyond` may ask more of it. State is saved after every generation; a run
    folder that holds a state continues from there. Shots weigh in the head what `weight_of_shots` says. In the search
    they are the training set's; for the test set, dev's too. `watch` is told, once a generation is saved, what
    `history.jsonl` has of it, with the lowest losses so far (`best_train`, `best_dev`). Raises SearchError,
    RunFolderError and whatever the engine raises.
    """
    for name in ("train", "dev"):
        objective.load(name)
    if objective.space.most_shots:
        objective.keep("train")
    resumed = run.load_state()
    account = Account(dict(resumed.phases) if resumed else {})
    account.book(SHARING, objective.engine.cost())
    objective.opened.update(resumed.opened if resumed else {})
    if line := check_budget(objective, options, resumed.generation if resumed else None):
        display.note(f"limits   {line}")
    if objective.mechanism:
        planned = losses_by_set(objective.canaries, options, resumed.generation if resumed else None)
        display.note(f"privacy  this run opens up to {objective.mechanism.statement(run.asked() + planned)}")
    state = resumed or _start(objective, options, run, account, display)
    objective.space.shots = state.shots
    objective.canaries.known = {"train": state.start_loss, "dev": state.start_dev}
    display.start(state.generation, options.generations)
    stopped = "budget spent"
    try:
        while state.generation < options.generations:
            if reason := state.search.converged:
                stopped = f"converged ({reason})"
                break
            saved = _generation(objective, options, run, state, account, display)
            watch({**saved, "best_train": state.best_train, "best_dev": state.best_dev})
    finally:
        display.stop()
    best_z = _kept(objective, options, state, display)
    account.book(CHOICE, objective.engine.cost())
    return _finish(objective, state, best_z, stopped, account, display, run)


def _start(
    objective: Objective, options: SearchOptions, run: TuningRun, account: Account, display: Display
) -> TuningState:
    zero = np.zeros((1, options.dim))
    objective.space.shots = shots = weight_of_shots(objective, display)
    train, dev = (loss_without_prompt(objective, name, zero, display) for name in ("train", "dev"))
    state = TuningState(_search(options), zero[0], train, dev, best_dev=dev, best_train=train, shots=shots)
    account.book(UNTUNED_LOSSES, objective.engine.cost())
    _keep(state, objective, account)
    run.save_start(state)
    return state


def weight_of_shots(objective: Objective, display: Display) -> float:
    """What shots weigh in the head: what `likely_weight` reads from dev's losses without a prompt."""
    if not objective.space.most_shots:
        return 0.0
    shots, count = np.bincount(objective.sets["train"].labels).min(), len(objective.sets["dev"].labels)
    weights = tried_weights(shots, objective.space.most_shots)
    losses = objective.shot_losses("dev", weights)
    if np.isnan(losses).all():
        return 0.0  # the loss without a prompt will say what is wrong
    chosen = likely_weight(weights, count * losses)
    tried = ", ".join(f"{weight:g}: {loss:.4f}" for weight, loss in zip(weights, losses, strict=True))
    display.note(f"shots    weight {chosen:.3g} beside label texts or words, by dev loss ({tried})")
    return chosen


def _keep(state: TuningState, objective: Objective, account: Account) -> None:
    """What was spent and opened so far."""
    state.cost, state.phases, state.opened = account.total, dict(account.phases), dict(objective.opened)


def loss_without_prompt(objective: Objective, name: str, zero: Floats, display: Display) -> float:
    """The loss of a loaded set at z = 0 `[1, d]`. Raises SearchError where it cannot be: no search helps then."""
    seen = objective.evaluate(name, zero)
    if seen.rejected:
        raise SearchError(
            f"without a prompt the {name} set has {seen.rejected[0]}; a loss of this program is {objective.limits}: "
            "the texts leave the ranges that the program was calibrated for. Generate it with secfwt-gen "
            "--calibration-text and public text like these; with --health a run shows how many rows are wrong"
        )
    _warn_of_health(objective, seen, f"{name} set without a prompt", display)
    return float(seen.losses[0])


def _warn_of_health(objective: Objective, seen: Evaluation, when: str, display: Display) -> bool:
    """Whether more rows are wrong than values in their ranges explain; says so."""
    if seen.health is None or (worst := float(np.abs(seen.health).max())) <= objective.limits.health:
        return False
    display.note(
        f"warning  {when}: {worst:.3g} rows per example have a wrong length, at most "
        f"{objective.limits.health:.2g} can be rounding: values leave the calibrated ranges, and losses may be wrong"
    )
    return True


def _note_rejected(objective: Objective, seen: Evaluation, when: str, display: Display) -> None:
    if seen.rejected:
        display.note(
            f"{when}: {len(seen.rejected)} of {len(seen.losses)} candidates rejected: {', '.join(seen.rejected)}; "
            f"a loss of this program is {objective.limits}"
        )


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
    account: Account,
    display: Display,
) -> Json:
    began = time.monotonic()
    z = state.search.ask()
    when = f"generation {state.generation + 1}"
    seen = objective.evaluate("train", z)
    account.book(SEARCH, objective.engine.cost())
    _note_rejected(objective, seen, when, display)
    losses = seen.losses
    rejected = state.search.tell(z, losses)
    state.unhealthy += _warn_of_health(objective, seen, when, display)
    state.generation += 1
    state.evaluations += len(z)
    state.rejected += rejected
    best = int(np.nanargmin(losses))
    state.best_train = min(state.best_train, float(losses[best]))
    line: Json = {
        "generation": state.generation,
        "evaluations": state.evaluations,
        "losses": [float(v) if np.isfinite(v) else None for v in losses],
        "sigma": state.search.sigma,
    }
    if seen.health is not None:
        line["health"] = [float(v) for v in seen.health]
    if options.evaluates_dev(state.generation):
        contenders = np.stack([z[best], state.search.mean])
        seen_dev = objective.evaluate("dev", contenders)
        account.book(CHOICE, objective.engine.cost())
        _note_rejected(objective, seen_dev, f"{when}, dev", display)
        _warn_of_health(objective, seen_dev, f"{when}, dev", display)
        dev = seen_dev.losses
        line["dev"] = [float(v) if np.isfinite(v) else None for v in dev]
        for loss, contender in zip(dev, contenders, strict=True):
            if loss < state.best_dev:
                state.best_dev, state.best_z = float(loss), contender
    _keep(state, objective, account)
    line["seconds"] = round(time.monotonic() - began, 3)
    line["cost"] = asdict(state.cost)
    run.save_generation(line, state)
    display.update(
        Status(
            state.generation, options.generations, state.best_train, state.best_dev, state.evaluations,
            state.cost.bytes_sent, None if seen.health is None else float(np.abs(seen.health).max()),
            shown(objective.engine.allowance()),
        )
    )  # fmt: skip
    return line


def _test_logits(objective: Objective, prompts: list[Floats], display: Display) -> list[Floats]:
    found = objective.measure("test", prompts, place="train")
    for logits in found:
        if wrong := int((~objective.possible(logits)).sum()):
            limit = objective.limits.logit
            display.note(f"warning  test: logits of {wrong} of {len(logits)} examples are beyond ±{limit:.4g}")
    return found


def _accuracy(logits: Floats, objective: Objective) -> float:
    return float(np.mean(logits.argmax(axis=-1) == objective.sets["test"].labels))


def _kept(objective: Objective, options: SearchOptions, state: TuningState, display: Display) -> Floats:
    """The prompt with the lowest dev loss, or none where that is not lower by `keep_beyond` standard errors."""
    if not options.keep_beyond or not np.any(state.best_z):
        return state.best_z
    gain, error = objective.gain("dev", state.best_z)
    kept = gain > options.keep_beyond * error  # not where it is NaN
    display.note(
        f"keep     dev loss {gain:.4f} ± {error:.4f} lower with the best prompt: {'kept' if kept else 'none is kept'}"
    )
    return state.best_z if kept else np.zeros_like(state.best_z)


def _finish(
    objective: Objective,
    state: TuningState,
    best_z: Floats,
    stopped: str,
    account: Account,
    display: Display,
    run: TuningRun,
) -> Outcome:
    privacy = Privacy.of(objective.mechanism, run.asked()) if objective.mechanism else None
    logits: dict[str, Floats] = {}
    left = objective.engine.allowance().logit_rows
    prompted = bool(np.any(best_z))
    tuned = prompted or state.shots > 0
    rows = len(objective.sets["test"].labels) * (1 + tuned) if "test" in objective.sets else 0
    if left is not None and rows > left:
        display.note(f"warning  test: not measured, the parties open {left} rows of logits more, {rows} are needed")
    elif rows:
        if state.shots:
            objective.keep_shots()
        prompts = [objective.space.untuned, *([best_z] if tuned else [])]
        measured = _test_logits(objective, prompts, display)
        logits = {UNTUNED: measured[0], TUNED: measured[-1]}
        account.book(TEST, objective.engine.cost())
    return Outcome(
        generations=state.generation,
        evaluations=state.evaluations,
        rejected=state.rejected,
        unhealthy=state.unhealthy,
        start_loss=state.start_loss,
        best_loss=state.best_train,
        start_dev=state.start_dev,
        best_dev=state.best_dev if prompted else state.start_dev,
        test_zero_shot=_accuracy(logits[UNTUNED], objective) if logits else None,
        test_tuned=_accuracy(logits[TUNED], objective) if logits else None,
        test_examples=len(objective.sets["test"].labels) if logits else 0,
        test_logits=logits,
        stopped=stopped,
        cost=account.total,
        phases=account.phases,
        opened=dict(objective.opened),
        best_z=best_z,
        shots=state.shots,
        privacy=privacy,
    )
