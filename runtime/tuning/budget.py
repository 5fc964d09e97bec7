"""What a run opens, and whether the parties still open that much under the program's limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...codegen.commandline.units import amount, seconds
from ...codegen.compile import Compiled
from ...codegen.memory import ahead_bytes, kept_bytes, loading_bytes, step_bytes
from ...codegen.native.binaries import BinaryMissing
from ...codegen.native.rate import measure
from ...codegen.plan.graph import Stage
from ...codegen.ring.cost import generation_cost, stage_cost, uploaded_bytes
from ..engine import Left
from ..errors import BudgetSpentError
from .limits import Canaries
from .objective import SHOT_WEIGHTS, SHOTS, Objective
from .options import SearchOptions


@dataclass(frozen=True)
class Need:
    """The most that a run still opens: losses, and logits of one example under one candidate; of these, those of the
    test set."""

    losses: int
    rows: int
    test_rows: int

    def fits(self, left: Left, test: bool = True) -> bool:
        """Whether the parties open that much; `test`: with the test set."""
        rows = self.rows + self.test_rows * test
        return all(
            limit is None or n <= limit for n, limit in ((self.losses, left.evaluations), (rows, left.logit_rows))
        )


def need(objective: Objective, options: SearchOptions, done: int | None) -> Need:
    """Of a run that has `done` generations behind it; None: not even the losses without a prompt."""
    losses = rows = 0
    weights = len(SHOT_WEIGHTS) if objective.space.most_shots else 0
    for name, candidates in _steps(options, done, weights):
        asked = candidates + objective.canaries.count(candidates)
        losses += asked * (objective.reveal == "losses")
        rows += asked * len(objective.sets[name].labels) if objective.reveal == "logits" else 0
    rows += 2 * len(objective.sets["dev"].labels) if options.keep_beyond else 0
    test = objective.sets.get("test")
    return Need(losses, rows, 2 * len(test.labels) if test else 0)


def losses_by_set(canaries: Canaries, options: SearchOptions, done: int | None) -> Counter[str]:
    """Losses that a run still opens of each set, canaries among them; `done` as for `need`."""
    asked: Counter[str] = Counter()
    for name, candidates in _steps(options, done):
        asked[name] += candidates + canaries.count(candidates)
    return asked


def _steps(options: SearchOptions, done: int | None, weights: int = 0) -> list[tuple[str, int]]:
    """Sets and candidates of the steps to come, without canaries and test set; so many `weights` of the shots are tried
    first."""
    steps = [("train", 1), ("dev", 1)] if done is None else []
    steps += [("dev", weights)] if done is None and weights else []
    for generation in range((done or 0) + 1, options.generations + 1):
        steps.append(("train", options.popsize))
        if options.evaluates_dev(generation):
            steps.append(("dev", 2))
    return steps


def _kept(sizes: Mapping[str, int]) -> list[str]:
    """The sets whose means a run with shots keeps, in turn: train's, and for the test set `Objective.keep_shots`'."""
    if "test" not in sizes:
        return ["train"]
    return ["train", SHOTS] if SHOTS in sizes else ["train", "train", "dev"]


HELD_BYTES = 1 << 27
"""That a party keeps for examples of the test set where the training set, in whose place they stand, took less."""


def at_a_time(compiled: Compiled, sizes: Mapping[str, int]) -> int:
    """How many test examples the parties hold at a time: all, or equal parts that take no more than the training set
    did, or `HELD_BYTES`. 0 where there are none."""
    if not (examples := sizes.get("test", 0)):
        return 0
    most = max(1, sizes["train"], HELD_BYTES // max(kept_bytes(compiled.ring, Stage.EXAMPLE), 1))
    return -(-examples // -(-examples // most))


def party_bytes(compiled: Compiled, sizes: Mapping[str, int], options: SearchOptions, canaries: Canaries) -> int:
    """The most memory that a party on its own takes in a run, about.

    `sizes`: examples by set.
    """
    ring, train, dev, part = compiled.ring, sizes["train"], sizes["dev"], at_a_time(compiled, sizes)
    asked = Counter(_steps(options, None, len(SHOT_WEIGHTS) if compiled.options.prototype_shots else 0)).keys()
    steps = [(count + canaries.count(count), sizes[name]) for name, count in asked]
    each, ahead = kept_bytes(ring, Stage.EXAMPLE), max(ahead_bytes(ring, *step) for step in steps)
    setup = kept_bytes(ring, Stage.SETUP)
    both = setup + (train + dev) * each
    return max(
        loading_bytes(ring, train, setup + train * each),
        loading_bytes(ring, dev, both),
        *(step_bytes(ring, *step, both) for step in steps),
        # in train's place, the shots when dev has been released
        *(
            loading_bytes(ring, n, setup + (rest + n) * each + ahead)
            for rest, n in ((1, sizes.get(SHOTS, 0)), (dev, part))
            if n
        ),
    )


def expected(compiled: Compiled, sizes: Mapping[str, int], options: SearchOptions, canaries: Canaries) -> str:
    """What a whole run on three parties of this machine takes, by the cost model and this machine's rate, measured
    just now: seconds without a network, bytes between parties and from the owners, memory of one party. Empty where no
    rate can be measured.

    `sizes`: examples by set.
    """
    ring = compiled.ring
    cost = stage_cost(ring, Stage.SETUP, 1) + stage_cost(ring, Stage.EXAMPLE, sum(sizes.values()))
    uploads = uploaded_bytes(ring, "weight") + sum(uploaded_bytes(ring, "example", size) for size in sizes.values())
    shots = bool(compiled.options.prototype_shots)
    for name in _kept(sizes) if shots else ():
        cost += generation_cost(ring, 1, sizes[name])  # means cost about what a loss does
    weights = len(SHOT_WEIGHTS) if shots else 0
    asked = [*_steps(options, None, weights), *([("test", 1)] * 2 if "test" in sizes else [])]
    asked += [("dev", 1)] * 2 if options.keep_beyond else []
    for (name, candidates), times in Counter(asked).items():
        evaluated = candidates + canaries.count(candidates)
        step = generation_cost(ring, evaluated, sizes[name])
        uploads += times * uploaded_bytes(ring, "candidate", evaluated)
        for _ in range(times):
            cost += step
    try:
        took = measure().seconds(cost)
    except BinaryMissing:
        return ""
    memory = amount(party_bytes(compiled, sizes, options, canaries), "B")
    return (
        f"about {seconds(took)} on this machine as busy as it is now, {amount(cost.bytes, 'B')} between parties, "
        f"{amount(uploads, 'B')} from both owners, up to {memory} of memory per party"
    )


def check_budget(objective: Objective, options: SearchOptions, done: int | None) -> str:
    """What the run opens and what is left, in a line; empty where nothing is limited.

    Raises BudgetSpentError, before anything is opened, where the run does not fit. A run that is continued may do
    without the test set: `loop` says so then.
    """
    left = objective.engine.allowance()
    if left == Left():
        return ""
    needed = need(objective, options, done)
    line = (
        f"this run opens up to {needed.losses} losses and {needed.rows + needed.test_rows} rows of logits; with these "
        f"weights the parties open {_said(left.evaluations)} and {_said(left.logit_rows)} more"
    )
    if needed.fits(left, test=done is None):
        return line
    advice = _advice(objective, options, done, left)
    raise BudgetSpentError(f"{line}: {advice}")


def shown(left: Left) -> str:
    """What is left, for progress and results; empty where nothing is limited."""
    parts = {"losses": left.evaluations, "rows of logits": left.logit_rows}
    return ", ".join(f"{n} {what} left" for what, n in parts.items() if n is not None)


def _said(limit: int | None) -> str:
    return "any number" if limit is None else str(limit)


def _advice(objective: Objective, options: SearchOptions, done: int | None, left: Left) -> str:
    """What would fit."""
    least = 1 if done is None else done
    for generations in range(options.generations - 1, least - 1, -1):
        shorter = replace(options, budget=generations * options.popsize)
        if need(objective, shorter, done).fits(left, test=done is None):
            return f"--budget {shorter.budget} fits"
    if done is None and "test" in objective.sets and left.logit_rows is not None:
        most = (left.logit_rows - need(objective, options, done).rows) // 2
        if most > 0 and replace(need(objective, options, done), test_rows=0).fits(left):
            return f"--test-limit {most} fits"
    return "no --budget fits; the model owner may send the weights again, which starts a new count"
