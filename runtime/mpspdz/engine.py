"""MP-SPDZ as the data owner sees it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ...codegen.mpspdz.options import MpSpdzOptions
from ...codegen.mpspdz.program import MpcProgram
from ...codegen.plan.graph import Plan
from ...mpc_programs.lib import wire
from ..engine import Batch, Cost, Floats, Left, Progress
from ..errors import InputError, ServiceError
from ..parties.sharing import Words, decode
from .client import MpSpdzClient
from .inputs import PROMPTS, encode_container, prompt_rows


class Service(Protocol):
    """What the engine has to know of its parties, wherever they run; `commands` counts those that were sent."""

    def idle(self) -> None:
        """The parties are given a new command: nobody has waited for them so far."""

    def cost(self, commands: int) -> Cost:
        """What the commands have cost, once they are over."""

    def sent(self, commands: int) -> list[int]:
        """Bytes that every party has sent in the commands, once they are over."""

    def stop(self) -> None:
        """They have been told to end."""


@dataclass(frozen=True)
class _Piece:
    """A part of a set that the program can hold at once."""

    examples: int
    words: list[list[Words]]
    """By tile, every container's."""


class MpSpdzEngine:
    """`Engine` on parties of MP-SPDZ, for the data owner.

    A set of examples is shared once and stays in a range of the program's tiles. Sets that do not fit all at once are
    shared again when they are used; one that does not fit alone is evaluated in pieces. `progress` hears how many tiles
    of how many a step has behind it. Raises InputError and RangeError before anything is sent, ServiceError
    when a party refuses or is gone.
    """

    private = True

    def __init__(
        self, plan: Plan, program: MpcProgram, options: MpSpdzOptions, client: MpSpdzClient, parties: Service,
        progress: Progress = lambda done, total: None,
    ) -> None:  # fmt: skip
        self.name = f"mp-spdz ({options.protocol})"
        self._program, self._options, self._client, self._parties = program, options, client, parties
        self._progress = progress
        self._prompts = [value for value in plan if value.kind in PROMPTS]
        (self._candidate,) = plan.inputs("candidate")
        self._shapes = {str(v.attrs["name"]): v.shape for v in plan.inputs("example")}
        self._sets: dict[str, list[_Piece]] = {}
        self._places: dict[tuple[str, int], int] = {}
        """First tile of every piece that the parties hold, by set and number."""
        self._steps = 0
        self._commands = 0

    def load_examples(self, name: str, batch: Batch) -> None:
        """Share a set of examples under a name; replaces an earlier one."""
        self._check(name, batch)
        most = self._options.tiles * self._options.tile
        self._sets[name] = [self._piece(name, batch, start, most) for start in range(0, len(batch), most)]
        if any(held == name for held, _ in self._places):
            self._places.clear()
        if len(self._sets[name]) == 1:
            self._place(name, 0)

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Raises InputError: its programs keep nothing."""
        raise InputError("MP-SPDZ's programs keep nothing from step to step: --prototype-shots is not for them")

    def losses(self, name: str, z: Floats) -> Floats:
        """Loss of every candidate, z `[C, d]` -> `[C]`: opened to the data owner only."""
        rows = self._rows(name, z)
        popsize, pieces = self._program.popsize, self._set(name)
        result = np.zeros(len(z))
        self._progress(0, 0)
        done, total = 0, len(z) * sum(len(piece.words) for piece in pieces)
        for start in range(0, len(z), popsize):
            count = min(popsize, len(z) - start)
            for number, piece in enumerate(pieces):
                self._step(wire.LOSSES, name, number, [r[start : start + count] for r in rows])
                self._hear(done, count * len(piece.words), total)
                done += count * len(piece.words)
                part = decode(self._client.take(popsize), self._options.fraction_bits)
                result[start : start + count] += part[:count]
        self._steps += 1
        return result

    def logits(self, name: str, z: Floats) -> Floats:
        """Label logits of one set under one prompt, z `[d]` -> `[E, L]`: opened to the data owner only."""
        rows = self._rows(name, z[None])
        labels = self._program.num_labels
        parts = []
        self._progress(0, 0)
        done, total = 0, sum(len(piece.words) for piece in self._set(name))
        for number, piece in enumerate(self._set(name)):
            self._step(wire.LOGITS, name, number, rows)
            self._hear(done, len(piece.words), total)
            done += len(piece.words)
            tiles = [self._client.take(self._options.tile * labels) for _ in piece.words]
            opened = decode(np.concatenate(tiles), self._options.fraction_bits)
            parts.append(opened.reshape(-1, labels)[: piece.examples])
        self._steps += 1
        return np.concatenate(parts)

    def allowance(self) -> Left:
        """Nothing is limited: these parties count nothing."""
        return Left()

    def cost(self) -> Cost:
        """Total so far."""
        return replace(self._parties.cost(self._commands), steps=self._steps)

    def sent(self) -> list[int]:
        """Bytes that every party has sent to the others so far."""
        return self._parties.sent(self._commands)

    @property
    def weights(self) -> None:
        """These parties tell nothing of them."""

    @property
    def noisy(self) -> bool:
        """These parties add no noise."""
        return False

    def abort(self) -> None:
        """Make the thread that waits for the parties fail at once."""
        self._client.abort()

    def close(self) -> None:
        """Stop the parties."""
        with contextlib.suppress(ServiceError):  # they have stopped already
            self._say(wire.STOP)
        self._client.close()
        self._parties.stop()

    def _step(self, command: int, name: str, number: int, rows: list[Words]) -> None:
        """Send a step on one piece; `rows` by container `[C, …]`."""
        first = self._place(name, number)
        count = len(rows[0])
        self._say(command, count, first, len(self._sets[name][number].words))
        for candidate in range(count):
            for words in rows:
                self._client.give(words[candidate].ravel())

    def _place(self, name: str, number: int) -> int:
        """Share a piece unless the parties hold it; returns its first tile."""
        if (name, number) not in self._places:
            words = self._sets[name][number].words
            first = max((place + len(self._sets[n][i].words) for (n, i), place in self._places.items()), default=0)
            if first + len(words) > self._options.tiles:
                self._places.clear()
                first = 0
            self._say(wire.EXAMPLES, 0, first, len(words))
            for tile in words:
                for part in tile:
                    self._client.give(part)
                self._client.hear()
            self._places[name, number] = first
        return self._places[name, number]

    def _hear(self, before: int, count: int, total: int) -> None:
        """Wait for `count` tiles of a command, after `before` of `total`."""
        for done in range(before + 1, before + count + 1):
            self._client.hear()
            self._progress(done, total)

    def _say(self, command: int, *numbers: int) -> None:
        self._parties.idle()
        self._commands += 1
        self._client.say(command, *numbers, *(0,) * (3 - len(numbers)))

    def _check(self, name: str, batch: Batch) -> None:
        if unknown := sorted(batch.inputs.keys() - self._shapes.keys()):
            raise InputError(f"examples {name}: the program has no input {', '.join(unknown)}")
        for key, shape in self._shapes.items():
            values, expected = batch.inputs.get(key), (len(batch), *shape)
            if values is None or values.shape != expected:
                got = "is missing" if values is None else f"has shape {list(values.shape)}"
                raise InputError(f"examples {name}: {key} {got}, expected {list(expected)}")

    def _piece(self, name: str, batch: Batch, start: int, most: int) -> _Piece:
        """Up to `most` examples from `start`; the last tile is filled up with zeros, whose weight is 0."""
        count, tile = min(most, len(batch) - start), self._options.tile
        words: list[list[Words]] = [[] for _ in range(-(-count // tile))]
        for container in self._program.examples:
            key = container.sources[0]
            padded = np.zeros((len(words) * tile, *self._shapes[key]))
            padded[:count] = batch.inputs[key][start : start + count]
            encoded = encode_container(container, padded, self._options, f"examples {name}: {key}")
            for parts, part in zip(words, np.split(encoded, len(words)), strict=True):
                parts.append(part)
        return _Piece(count, words)

    def _rows(self, name: str, z: Floats) -> list[Words]:
        """A·z of every prompt, encoded: by container `[C, …]`."""
        if z[0].size != self._candidate.size:
            raise InputError(f"candidates have {z[0].size} coordinates, the program takes {self._candidate.size}")
        what = f"candidates of set {name}"
        return [
            encode_container(container, prompt_rows(prompt, z), self._options, what).reshape(len(z), -1)
            for container, prompt in zip(self._program.candidates, self._prompts, strict=True)
        ]

    def _set(self, name: str) -> list[_Piece]:
        if name not in self._sets:
            raise InputError(f"there is no set of examples {name!r}; known: {', '.join(self._sets) or 'none'}")
        return self._sets[name]
