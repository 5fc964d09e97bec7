"""What an output opens beside values behind a non-linearity: for operators, who read a program before they run it.

An output named `loss` may open a raw weight. So what counts is not its name, but how inputs come to it.
"""

from __future__ import annotations

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
    """Of every output of a program file. Raises ProgramTextError.

    In a product of an input with something that has passed a non-linearity, nobody knows the other factor: there the
    input does not count.
    """
    values: list[Reach] = []
    outputs: dict[str, Reach] = {}
    for number, words in items(read_text(path)):
        try:
            match words:
                case ["v", _, _, _, _, _, kind, inputs, *keys]:
                    if kind in INPUT_KINDS:
                        name = next(key.removeprefix("name=") for key in keys if key.startswith("name="))
                        values.append(Reach(frozenset({f"{kind} {name}"})))
                    else:
                        values.append(_made(kind, [values[int(i)] for i in inputs.split(",") if i != "-"]))
                case ["out", name, value, *_]:
                    outputs[name] = values[int(value)]
        except (ValueError, IndexError, StopIteration) as error:
            raise ProgramTextError(f"{path}:{number}: cannot read {' '.join(words)!r}") from error
    return outputs


def _made(kind: str, inputs: list[Reach]) -> Reach:
    if kind in NON_LINEARITIES:
        return Reach(mixed=True)
    if kind in PRODUCTS:
        a, b = inputs
        pure = [factor.direct for factor, other in ((a, b), (b, a)) if not other.mixed]
        return Reach(frozenset[str]().union(*pure), a.mixed or b.mixed)
    return Reach(frozenset[str]().union(*(each.direct for each in inputs)), any(each.mixed for each in inputs))
