"""The embedded VM as a data owner sees it."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import numpy as np

from ...codegen.plan.graph import CLASS_MEANS, LOSS_HEALTH
from ...codegen.ring.header import OutputSpec, ProgramHeader
from ..engine import Batch, Cost, Floats, Left, Progress
from ..errors import BudgetSpentError, InputError, ServiceError
from ..parties.deployment import Deployment
from ..parties.sharing import Elements, decode, encoded
from .client import Client


class EmbeddedEngine:
    """`Engine` on three parties of the embedded VM, for the data owner, or whichever of several `role` names.

    Raises InputError and RangeError before anything is sent, ServiceError when a party refuses or is gone.
    """

    name = "embedded"
    private = True

    def __init__(
        self,
        deployment: Deployment,
        program: ProgramHeader,
        *,
        patience: float = 10.0,
        progress: Progress = lambda done, total: None,
        role: str = "data-owner",
    ) -> None:
        self.program, self._progress = program, progress
        self._losses = LOSS_HEALTH if any(output.name == LOSS_HEALTH for output in program.outputs) else "loss"
        self._sets: dict[str, tuple[int, int]] = {}
        self._owners = 0
        """Whose examples a step is on, bit by bit; 0: its own."""
        self._client = Client(deployment, role, program.hash, patience=patience, progress=progress)
        limited = [output for output in program.outputs if output.max_opened is not None]
        if len(self._client.opened) != len(limited):
            self._client.close()
            raise ServiceError(
                0, "refused", f"counts {len(self._client.opened)} outputs, the program limits {len(limited)}"
            )
        self._left = {
            output.name: (output.max_opened or 0) - opened
            for output, opened in zip(limited, self._client.opened, strict=True)
        }
        if program.of_kind("weight") and not self._client.weights_loaded:
            self._client.close()
            raise ServiceError(0, "refused", "the model owner has not sent the weights yet (secfwt-weights)")

    def load_examples(self, name: str, batch: Batch) -> None:
        """Share a set of examples under a name; replaces an earlier one."""
        specs = self.program.of_kind("example")
        count = len(batch)
        if unknown := sorted(batch.inputs.keys() - {spec.name for spec in specs}):
            raise InputError(f"examples {name}: the program has no input {', '.join(unknown)}")
        for spec in specs:
            values, expected = batch.inputs.get(spec.name), (count, *spec.shape)
            if values is None or values.shape != expected:
                got = "is missing" if values is None else f"has shape {list(values.shape)}"
                raise InputError(f"examples {name}: {spec.name} {got}, expected {list(expected)}")
        inputs = [encoded(batch.inputs[spec.name], spec, f"examples {name}: {spec.name}") for spec in specs]
        set_id, _ = self._sets.pop(name, (len(self._sets), 0))
        self._progress(0, 0)
        self._client.send_examples(set_id, count, inputs)
        self._sets[name] = set_id, count

    def losses(self, name: str, z: Floats) -> Floats:
        """Loss of every candidate, z `[C, d]` -> `[C]`, of a program with `--health` `[C, 2]`.

        This and `logits` raise BudgetSpentError where the program's limits leave too little.
        """
        losses = self._step(name, self._losses, z)
        return losses.reshape(len(z), 2) if self._losses == LOSS_HEALTH else losses.reshape(len(z))

    def logits(self, name: str, z: Floats) -> Floats:
        """Label logits of one set under one prompt, z `[d]` -> `[E, L]`: opened to the data owner only. A program
        without prompts takes an empty z."""
        _, count = self._set(name)
        if self.program.output("logits")[1].stage == "example":
            return self._opened(name, "logits", 0, [], 0)
        return self._step(name, "logits", z[None]).reshape(count, -1)

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Keep the mean embedding of each label's examples of a set under one prompt, z `[d]`, times the shots' weight
        in z, or add it to what is kept: it stays at the parties, as shares, until it is kept anew or the weights
        change."""
        self._step(name, CLASS_MEANS, z[None], at=int(add))

    def first(self, name: str) -> Floats:
        """Of a program that generates: what the last row of each text of a set opens, `[E, …]`. Raises BudgetSpentError
        as `losses` does."""
        return self._opened(name, "first", 0, [], 0)

    def next(self, name: str, rows: Floats, at: int) -> Floats:
        """What the rows `[n, h]` open that stand from place `at` on behind each text of a set, `[E, n, …]`; their keys
        and values stay there for the steps that follow. Raises BudgetSpentError as `losses` does."""
        (spec,) = self.program.of_kind("candidate")
        if rows.shape != spec.shape:
            raise InputError(f"a step has rows {list(rows.shape)}, the program takes {list(spec.shape)}")
        opened: Floats = self._opened(name, "next", 1, [encoded(rows, spec, "rows of a step")], at)[0]
        return opened

    def left(self, output: str) -> int | None:
        """How often an output may still be opened; None: any number of times."""
        return self._left.get(output)

    def allowance(self) -> Left:
        """What the program's limits leave, of what all sessions with these weights may ask for."""
        return Left(self._left.get(self._losses), self._left.get("logits"))

    def cost(self) -> Cost:
        """Total so far."""
        return replace(self._client.cost)

    def sent(self) -> list[int]:
        """Bytes that every party has sent to the others so far."""
        return list(self._client.sent)

    @property
    def weights(self) -> int:
        """What tells the model owner's weights from others."""
        return self._client.weights

    @property
    def noisy(self) -> bool:
        """Whether the parties add noise to every loss."""
        return any(output.name == self._losses and output.noise for output in self.program.outputs)

    def abort(self) -> None:
        """Make the thread that waits for the parties fail at once."""
        self._client.abort()

    def close(self) -> None:
        """Stop the parties."""
        with contextlib.suppress(ServiceError):  # they have stopped already
            self._client.stop()
        self._client.close()

    def leave(self) -> None:
        """End the session and leave the parties running for the next one."""
        self._client.close()

    def _set(self, name: str) -> tuple[int, int]:
        if name not in self._sets:
            raise InputError(f"there is no set of examples {name!r}; known: {', '.join(self._sets) or 'none'}")
        return self._sets[name]

    def _spend(self, output: OutputSpec, asked: int) -> None:
        """Count what a step opens, as the parties will."""
        if (left := self._left.get(output.name)) is None:
            return
        if asked > left:
            raise BudgetSpentError(
                f"the program opens {output.name} {output.max_opened} times for these weights, {left} are left, and "
                f"this step needs {asked}: the model owner may send the weights again, which starts a new count"
            )
        self._left[output.name] = left - asked

    def _step(self, name: str, output: str, z: Floats, at: int = 0) -> Floats:
        return self._opened(name, output, len(z), self._candidates(z, f"candidates of set {name}"), at)

    def _candidates(self, z: Floats, name: str) -> list[Elements]:
        """All `candidate` inputs of z `[C, d]`."""
        specs = self.program.of_kind("candidate")
        if z[0].size != (size := sum(spec.size for spec in specs)):
            raise InputError(f"candidates have {z[0].size} coordinates, the program takes {size}")
        parts = np.split(z, np.cumsum([spec.size for spec in specs])[:-1], axis=1)
        return [encoded(part, spec, name) for part, spec in zip(parts, specs, strict=True)]

    def _opened(self, name: str, output: str, candidates: int, inputs: list[Elements], at: int) -> Floats:
        """An output for so many candidates."""
        set_id, examples = self._set(name)
        try:
            index, spec = self.program.output(output)
        except KeyError:
            known = ", ".join(o.name for o in self.program.outputs)
            raise InputError(f"the program does not open {output!r}; it opens: {known}") from None
        batch = {"candidate": (candidates,), "pair": (candidates, examples), "example": (examples,)}[spec.stage]
        shape = (0,) if spec.kept else (*batch, *spec.shape)
        self._spend(spec, math.prod(batch))
        self._progress(0, 0)
        opened = self._client.step(set_id, candidates, index, math.prod(shape), inputs, spec.ring, at, self._owners)
        return decode(opened, spec.scale).reshape(shape)
