"""`Engine` made of engines: every step is spread over groups of parties, and a group that dies is done without."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..engine import Batch, Cost, Engine, Floats, Left
from ..errors import BudgetSpentError, GroupError, InputError, ServiceError
from .layout import Row, layout, seconds
from .progress import StepProgress
from .step import Piece, Step

UNSURE = 0.5
"""Part of a step that is not given out at once while nobody knows how fast the groups are; later it follows how far
they were from what was expected."""
CLEARLY_BETTER = 2.0
"""Another layout has to be so many times as fast as the one that the groups hold: examples would be shared anew."""


class GroupEngine(Engine, Protocol):
    """The engine of one group."""

    @property
    def weights(self) -> int | None:
        """What tells the model owner's weights from others; None: the engine cannot say."""

    @property
    def noisy(self) -> bool:
        """Whether the parties add noise to every loss: a sum of parts would have that of each part."""

    def abort(self) -> None:
        """Make the thread that waits for the parties fail at once."""


@dataclass
class Group:
    """One group, as the steps so far have shown it."""

    name: str
    """Its deployment file."""
    engine: GroupEngine
    lost: str = ""
    """Why it is done without; empty: it lives."""
    speed: float = 0.0
    """Pairs of candidate and example per second, network included; 0: not measured."""
    holds: dict[str, slice] = field(default_factory=dict)
    """Examples that it has shares of, by set."""

    def timed(self, pairs: int, took: float) -> float:
        """Its pieces of a step took so many seconds; returns how wrong the speed was, as a part of the new one."""
        measured = pairs / max(took, 1e-9)
        if not self.speed:
            self.speed = measured
            return UNSURE
        wrong = abs(self.speed / measured - 1)
        self.speed = (self.speed + measured) / 2
        return wrong


def reserve(wrong: Sequence[float]) -> float:
    """Part of the next step that is not given out at once, by how wrong the groups' speeds were in this one."""
    return min(UNSURE, 2 * sum(wrong) / len(wrong))


class GroupedEngine:
    """`Engine` for the data owner on groups that run the same program with the same weights.

    A set of examples is shared with a group, by fresh shares, when it first has a part in a step on it. Losses are
    spread by candidates. Where there are too few, parts of the set are too, and the sums of parts are added here: then
    each group opens its part's sum to the data owner, so under `--max-evaluations` and with `--noise` this is not done.
    Logits are spread by examples. What is opened is otherwise what one group would open, and the sum of all groups'
    limits is the limit.

    Raises what the groups' engines raise, but for ServiceError: GroupError, when no group is left.
    """

    def __init__(self, groups: Sequence[Group], progress: StepProgress, note: Callable[[str], None]) -> None:
        """Raises GroupError where weights differ."""
        self._groups, self._progress, self._note = list(groups), progress, note
        self.name = f"{groups[0].engine.name}, {len(groups)} groups of parties"
        self.private = all(group.engine.private for group in groups)
        self._sets: dict[str, Batch] = {}
        self._layouts: dict[str, tuple[Row, ...]] = {}
        self._reserve = UNSURE
        self._cost = Cost()
        self._pool = ThreadPoolExecutor(len(groups), thread_name_prefix="secfwt-group")
        first = groups[0]
        for group in groups[1:]:
            if group.engine.weights != first.engine.weights:
                raise GroupError(
                    f"groups {first.name} and {group.name} have different weights: the model owner shares those of one "
                    "bundle with all of them (secfwt-weights)"
                )

    def load_examples(self, name: str, batch: Batch) -> None:
        """Keep a set under a name, in place of an earlier one, until steps ask for it."""
        self._sets[name] = batch
        self._layouts.pop(name, None)
        for group in self._groups:
            group.holds.pop(name, None)

    def losses(self, name: str, z: Floats) -> Floats:
        """Loss of every candidate, z `[C, d]` -> `[C]`; with `--health` `[C, 2]`, as one group's."""
        limited = self.allowance().evaluations is not None
        whole = limited or self._living()[0].engine.noisy
        rows = self._rows(name, len(z), most=1 if whole else len(self._groups))
        opened: list[tuple[Piece, Floats]] = []

        def compute(group: Group, piece: Piece) -> None:
            opened.append((piece, group.engine.losses(name, z[list(piece.candidates)])))

        self._step(name, rows, len(z), compute, lambda left, row: left.evaluations)
        total = np.zeros((len(z), *opened[0][1].shape[1:]))
        for piece, losses in opened:
            total[list(piece.candidates)] += losses
        return total

    def logits(self, name: str, z: Floats) -> Floats:
        """Label logits of one set under one prompt, z `[d]` -> `[E, L]`: opened to the data owner only."""
        rows = self._rows(name, 1, most=len(self._groups))
        opened: dict[int, Floats] = {}

        def compute(group: Group, piece: Piece) -> None:
            opened[piece.row.start] = group.engine.logits(name, z)

        def left(of: Left, row: Row) -> int | None:
            return None if of.logit_rows is None else of.logit_rows // len(row)

        self._step(name, rows, 1, compute, left)
        return np.concatenate([opened[row.start] for row in rows])

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """As one group's, in every group: the whole set is shared with each."""
        whole = slice(0, len(self._set(name)))

        def work(group: Group) -> None:
            try:
                self._hold(group, name, whole)
                group.engine.keep(name, z, add=add)
            except ServiceError as error:
                self._drop(group, error)

        self._together(work, lambda: None)

    def allowance(self) -> Left:
        """The sum over all groups: each counts what it opens."""
        left = [group.engine.allowance() for group in self._living()]

        def total(limits: list[int | None]) -> int | None:
            return None if None in limits else sum(limit or 0 for limit in limits)

        return Left(total([each.evaluations for each in left]), total([each.logit_rows for each in left]))

    def cost(self) -> Cost:
        """Total so far: bytes of all groups; of each step the seconds and rounds of the group that took most."""
        return self._cost + Cost()

    def close(self) -> None:
        """Stop the parties of all groups."""
        for group in self._groups:
            group.engine.close()
        self._pool.shutdown()

    def leave(self) -> None:
        """No more steps; whoever made the groups' engines ends them."""
        self._pool.shutdown()

    def _living(self) -> list[Group]:
        living = [group for group in self._groups if not group.lost]
        if not living:
            raise GroupError(
                "no group of parties is left: " + "; ".join(f"{group.name}: {group.lost}" for group in self._groups)
            )
        return living

    def _set(self, name: str) -> Batch:
        if name not in self._sets:
            raise InputError(f"there is no set of examples {name!r}; known: {', '.join(self._sets) or 'none'}")
        return self._sets[name]

    def _speeds(self) -> dict[int, float]:
        """By number, of those that live; one that was not measured is taken for an average one."""
        living = self._living()
        known = [group.speed for group in living if group.speed] or [1.0]
        return {self._groups.index(group): group.speed or sum(known) / len(known) for group in living}

    def _rows(self, name: str, candidates: int, most: int) -> tuple[Row, ...]:
        """The set's layout for a step of so many candidates."""
        speeds, examples = self._speeds(), len(self._set(name))
        best = layout(speeds, candidates, examples, most)
        held = self._layouts.get(name, ())
        if (
            0 < len(held) <= most
            and {group for row in held for group in row.groups} == speeds.keys()
            and seconds(held, speeds, candidates) <= CLEARLY_BETTER * seconds(best, speeds, candidates)
        ):
            return held
        self._layouts[name] = best
        return best

    def _hold(self, group: Group, name: str, examples: slice) -> None:
        """Share the examples with a group unless it has them."""
        if group.holds.get(name) != examples:
            group.holds.pop(name, None)
            group.engine.load_examples(name, self._set(name).part(examples))
            group.holds[name] = examples

    def _step(
        self, name: str, rows: Sequence[Row], candidates: int, compute: Callable[[Group, Piece], None],
        left: Callable[[Left, Row], int | None],
    ) -> None:  # fmt: skip
        """Have all pieces of a step computed; `left`: candidates of a row that an allowance is enough for."""

        def allowed(number: int, row: Row) -> int:
            limit = left(self._groups[number].engine.allowance(), row)
            return candidates if limit is None else limit

        step = Step(rows, candidates, self._speeds(), self._reserve, allowed)
        busy: dict[int, tuple[int, float]] = {}
        self._progress.begin(candidates * sum(len(row) for row in rows))

        def work(group: Group) -> None:
            number = self._groups.index(group)
            while piece := step.take(number):
                try:
                    self._hold(group, name, piece.row.examples)
                    self._progress.piece(number, piece.pairs)
                    began = time.monotonic()
                    compute(group, piece)
                except ServiceError as error:
                    self._progress.end(number, done=False)
                    self._drop(group, error)
                    step.lose(number, piece)
                    return
                except BaseException:
                    step.stop()
                    raise
                pairs, took = busy.get(number, (0, 0.0))
                busy[number] = pairs + piece.pairs, took + time.monotonic() - began
                self._progress.end(number, done=True)
                step.finish(piece)

        self._together(work, step.stop)
        if not step.complete:
            self._living()
            rest = self.allowance()
            raise BudgetSpentError(
                f"this step needs more than the groups' limits leave, {rest.evaluations} losses and {rest.logit_rows} "
                "rows of logits: the model owner may send the weights again, which starts a new count"
            )
        self._reserve = reserve([self._groups[number].timed(*spent) for number, spent in busy.items()])

    def _together(self, work: Callable[[Group], None], stop: Callable[[], None]) -> None:
        """Do that for all groups that live, at the same time; count what it costs. An error, or an interrupt, ends it
        for all."""
        living = self._living()
        before = [group.engine.cost() for group in living]
        futures: list[Future[None]] = [self._pool.submit(work, group) for group in living]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
            wait(futures)
        except BaseException as error:
            stop()
            if not isinstance(error, Exception):  # an interrupt: nobody wants the answers any more
                for group in living:
                    group.engine.abort()
            wait(futures)
            raise
        spent = [group.engine.cost().since(earlier) for group, earlier in zip(living, before, strict=True)]
        self._cost += Cost(
            max(each.seconds for each in spent), sum(each.bytes_sent for each in spent),
            max(each.rounds for each in spent), max(each.peak_bytes for each in spent),
            max(each.steps for each in spent),
        )  # fmt: skip
        self._living()

    def _drop(self, group: Group, error: ServiceError) -> None:
        group.lost = str(error)
        others = sum(not each.lost for each in self._groups)
        if others:
            self._note(f"warning  group {group.name} is lost ({error}); {others} go on, and do its part")
