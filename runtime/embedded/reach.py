"""What an output opens beside values behind a non-linearity: for operators, who read a program before they run it.

An output named `loss` may open a raw weight. So what counts is not its name, but how inputs come to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...codegen.ring.header import INPUT_KINDS, ProgramTextError, items, read_text

NON_LINEARITIES = ("fourier", "cos_sin")
PRODUCTS = ("mul", "matmul")


@dataclass(frozen=True)
class Reach:
    """What a value is made of."""

    direct: frozenset[str] = frozenset()
    """Inputs, as kind and name, that come to it through sums, moves, truncations and products of inputs alone."""
    mixed: bool = False
    """Whether something that has passed a non-linearity comes to it too."""


def reach(path: Path) -> dict[str, Reach]:
    """Of every output of a program file that is opened; one that is kept (`keep`) opens nothing, but what it is made of
    comes to whatever reads it later. Raises ProgramTextError.

    In a product of an input with something that has passed a non-linearity, nobody knows the other factor: there the
    input does not count.
    """
    lines, kept = list(items(read_text(path))), dict[int, Reach]()
    while True:  # what is kept may be made of what was kept before
        outputs, keeps = _outputs(path, lines, kept)
        if keeps == kept:
            return outputs
        kept = keeps


def _outputs(
    path: Path, lines: Sequence[tuple[int, list[str]]], kept: Mapping[int, Reach]
) -> tuple[dict[str, Reach], dict[int, Reach]]:
    """What is opened, by name, and what is kept, by the number of the value that it becomes."""
    values: list[Reach] = []
    outputs: dict[str, Reach] = {}
    keeps: dict[int, Reach] = {}
    for number, words in lines:
        try:
            match words:
                case ["v", _, _, _, _, _, kind, inputs, *keys]:
                    if kind in INPUT_KINDS:
                        values.append(Reach(frozenset({f"{kind} {_given('name', keys)}"})))
                    elif kind == "kept":
                        values.append(kept.get(len(values), Reach()))
                    else:
                        values.append(_made(kind, [values[int(i)] for i in inputs.split(",") if i != "-"]))
                case ["out", name, value, *keys]:
                    if any(key.startswith("keep=") for key in keys):
                        keeps[int(_given("keep", keys))] = values[int(value)]
                    else:
                        outputs[name] = values[int(value)]
        except (ValueError, IndexError, StopIteration) as error:
            raise ProgramTextError(f"{path}:{number}: cannot read {' '.join(words)!r}") from error
    return outputs, keeps


def _given(name: str, keys: Sequence[str]) -> str:
    return next(key.removeprefix(f"{name}=") for key in keys if key.startswith(f"{name}="))


def _made(kind: str, inputs: list[Reach]) -> Reach:
    if kind in NON_LINEARITIES:
        return Reach(mixed=True)
    if kind in PRODUCTS:
        a, b = inputs
        pure = [factor.direct for factor, other in ((a, b), (b, a)) if not other.mixed]
        return Reach(frozenset[str]().union(*pure), a.mixed or b.mixed)
    return Reach(frozenset[str]().union(*(each.direct for each in inputs)), any(each.mixed for each in inputs))
