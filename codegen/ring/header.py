"""What a client needs to know of a ring program: its hash, its inputs and its outputs (docs/program.md)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from .program import WORD

FIRST_LINE = "secfwt-program 4"
INPUT_KINDS = ("weight", "example", "candidate")
NUMBERS = ("max_candidates", "max_opened", "noise")


class ProgramTextError(ValueError):
    """A file that is not a ring program; the message names file, line and what was expected."""


@dataclass(frozen=True)
class InputSpec:
    """One input: ring elements round(value · 2^scale) mod 2^ring, one array of `shape` an instance."""

    name: str
    kind: str
    """`weight`, `example` or `candidate`."""
    stage: str
    scale: int
    shape: tuple[int, ...]
    ring: int

    @property
    def size(self) -> int:
        """Ring elements of one instance."""
        return prod(self.shape)


@dataclass(frozen=True)
class OutputSpec:
    """One output: opened to the data owner, for at most `max_candidates` candidates a step, and `max_opened` instances
    in all since the weights arrived: one per candidate, with stage `pair` one per candidate and example, with stage
    `example` one per example. None: any number. `noise`: standard deviation of what each party adds to a ring element;
    None: nothing.
    """

    name: str
    stage: str
    """`candidate`, `pair` or `example`."""
    scale: int
    shape: tuple[int, ...]
    ring: int
    """Bits that are opened of each of its ring elements."""
    max_candidates: int | None
    max_opened: int | None
    noise: int | None = None
    kept: bool = False
    """Nothing is opened: it stays at the parties."""
    min_owners: int | None = None
    """Data owners besides the coordinator whose examples must be in the sum that is opened to it; None: it is opened to
    a data owner of its own examples."""


@dataclass(frozen=True)
class ProgramHeader:
    """A program seen from outside."""

    hash: bytes
    """SHA-256 of the file."""
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]

    def of_kind(self, kind: str) -> tuple[InputSpec, ...]:
        """Inputs of a kind, in program order: the order in which their words are sent."""
        return tuple(spec for spec in self.inputs if spec.kind == kind)

    def output(self, name: str) -> tuple[int, OutputSpec]:
        """Index and description of an output; raises KeyError."""
        for index, spec in enumerate(self.outputs):
            if spec.name == name:
                return index, spec
        raise KeyError(name)


def read_program(path: Path) -> ProgramHeader:
    """Read the inputs and outputs of a program file. Raises ProgramTextError."""
    data = read_text(path)
    values: dict[str, tuple[str, int, tuple[int, ...]]] = {}
    inputs: list[InputSpec] = []
    outputs: list[OutputSpec] = []
    for number, words in items(data):
        try:
            match words:
                case ["v", value, stage, _, scale, shape, kind, _, *keys]:
                    values[value] = stage, int(scale), tuple(map(int, shape.split("x")))
                    if kind in INPUT_KINDS:
                        given = _keys(keys)
                        inputs.append(InputSpec(given["name"], kind, *values[value], _ring(given)))
                case ["out", name, value, *keys]:
                    given = _keys(keys)
                    most, opened, noise = (int(given[k]) if k in given else None for k in NUMBERS)
                    kept, owners = "keep" in given, int(given["min_owners"]) if "min_owners" in given else None
                    outputs.append(OutputSpec(name, *values[value], _ring(given), most, opened, noise, kept, owners))
                case ["v" | "out", *_]:
                    raise ValueError
        except (ValueError, KeyError) as error:
            raise ProgramTextError(f"{path}:{number}: cannot read {' '.join(words)!r}") from error
    return ProgramHeader(hashlib.sha256(data).digest(), tuple(inputs), tuple(outputs))


def items(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """A program's lines behind the first as words, comments and empty lines left out, with their numbers."""
    for number, line in enumerate(data.decode("ascii").split("\n")[1:], start=2):
        if words := line.split("#", 1)[0].split():
            yield number, words


def read_text(path: Path) -> bytes:
    """A file that everyone reads as the same lines: what ends a line in one reader's eyes, and not in another's, is
    refused, by the VM too."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProgramTextError(f"cannot read program {path}: {error.strerror}") from error
    if found := re.search(rb"[^\n -~]", data):
        number = data.count(b"\n", 0, found.start()) + 1
        raise ProgramTextError(
            f"{path}:{number}: byte {found[0][0]} found, a program is printable ASCII (32 to 126) and LF"
        )
    if data.split(b"\n", 1)[0] != FIRST_LINE.encode():
        raise ProgramTextError(f"{path}:1: expected {FIRST_LINE!r}")
    return data


def _ring(keys: dict[str, str]) -> int:
    return int(keys.get("ring", WORD))


def _keys(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)
