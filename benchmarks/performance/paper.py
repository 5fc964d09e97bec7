"""A whole tuning run of RoBERTa-large's shape, from its set-up and three of its generations, next to the published one.

    python benchmarks/run.py paper --prompt-layer 23
    python benchmarks/run.py paper --prompt-layer 22 --examples 4 --layers 3 7
    python benchmarks/run.py paper --prompt-layer 0 --candidates 2 --examples 2 --layers 2 6

Sizes are Black-Box Tuning's defaults (Sun et al. 2022), with random weights. Sharing the weights, once for all runs, is
not counted. Slices, for machines with little memory or time: with fewer candidates or examples a generation costs as
many times more as it has more pairs, and the set-up as it has more examples. From models of two depths the whole one's
cost follows, since layers below the prompt cost the same each, and so do those above it. Every row says what was
measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

from secfwt.codegen.estimate import BUDGET
from secfwt.runtime.errors import SecfwtError

from performance import generation
from performance.generation import Generation
from performance.models import FEATURES, SHAPES, VERBALISER
from performance.sweeps import at_least, attentions, record
from rows import Row

RUN = Generation(
    replace(SHAPES["roberta-large"], head=VERBALISER), prompt_layer=23, candidates=20, examples=2 * 16, tokens=64,
    prompt_rows=50, intrinsic_dim=500,
)  # fmt: skip
"""One generation of the run: a prompt in the last layer, two classes of sixteen examples."""
GENERATIONS = BUDGET // RUN.candidates
PUBLISHED = (
    "published (arXiv 2506.15307, SST-2): 8.81 h, 14.2 TB on three GPU servers; by its own 56.5 GB and 55.2 s an "
    "iteration of 512 tokens, that is what {iterations:.0f} such iterations send"
)
PUBLISHED_GIGABYTES, ITERATION_GIGABYTES = 14220, 56.5


@dataclass(frozen=True, kw_only=True)
class PaperRow(Row):
    """What was measured, and what the whole run would take by it."""

    generations: int
    measured_layers: str
    """Depths of the models that were measured."""
    pairs_factor: float
    """Pairs of a whole generation per pair that was measured."""
    run_hours: float
    run_terabytes: float

    def __str__(self) -> str:
        part = "" if self.pairs_factor == 1 else f"1/{self.pairs_factor:.0f} of "
        return (
            f"{super().__str__()}\nthe whole run: {self.run_hours:.2f} h, {self.run_terabytes:.3f} TB "
            f"(by {part}a generation on {self.measured_layers} layers)"
        )


def whole_run(measured: Sequence[Row], run: Generation = RUN, generations: int = GENERATIONS) -> PaperRow:
    """The run that a row is a generation of, or part of one: the set-up once, all generations like the median one.

    `measured`: of the whole model, or of two depths.
    """
    row = at_depth(measured[0], measured[-1], run.shape.layers)
    pairs = run.candidates * run.examples / (row.candidates * row.examples)
    examples = run.examples / row.examples
    seconds = row.load_seconds * examples + row.seconds * pairs * generations
    megabytes = row.load_megabytes * examples + row.megabytes * pairs * generations
    return PaperRow(
        **asdict(row) | {"benchmark": "paper", "prompt_layer": run.prompt_layer}, generations=generations,
        measured_layers=" and ".join(str(each.layers) for each in measured), pairs_factor=pairs,
        run_hours=seconds / 3600, run_terabytes=megabytes / 1e6,
    )  # fmt: skip


BELOW = ("load_seconds", "load_megabytes", "peak_memory_mb")
"""What grows with the layers below the prompt."""
ABOVE = ("cold_seconds", "seconds", "seconds_min", "seconds_max", "megabytes", "rounds", "peak_memory_mb")
"""What grows with those above it."""


def at_depth(shallow: Row, deep: Row, layers: int) -> Row:
    """What a model of so many layers would have cost, by two depths; its error is unknown, the deep one's is told.

    Raises SecfwtError where the shallow one took more: something else was going on then.
    """
    if deep.layers == layers:
        return deep
    further = (layers - deep.layers) / (deep.layers - shallow.layers)
    known = {name: (getattr(shallow, name), getattr(deep, name)) for name in (BELOW if deep.prompt_layer else ABOVE)}
    if wrong := [f"{name} {a:.4g}, {b:.4g}" for name, (a, b) in known.items() if b < a]:
        raise SecfwtError(
            f"{shallow.layers} layers took more than {deep.layers} ({'; '.join(wrong)}): measure again, on a machine "
            "that is less busy"
        )
    return replace(deep, layers=layers, **{name: type(b)(b + further * (b - a)) for name, (a, b) in known.items()})


def paper_rows(options: argparse.Namespace) -> Iterator[PaperRow]:
    """One row for each place of the prompt and kind of attention."""
    for layer, (attention, features) in product(options.prompt_layer, attentions(options)):
        if layer >= RUN.shape.layers:
            raise SecfwtError(f"--prompt-layer is {layer}, roberta-large has {RUN.shape.layers} layers")
        run = replace(RUN, prompt_layer=layer, attention=attention, features=features)
        part = replace(run, candidates=options.candidates, examples=options.examples)
        yield whole_run(
            [generation.measure(cut(part, depth), True, options.runs, options.threads) for depth in options.layers], run
        )


def cut(size: Generation, layers: int) -> Generation:
    """Of a model of so many layers: of layers below the prompt fewer; none of those above it, unless all are."""
    left_out = size.shape.layers - layers
    shape = replace(size.shape, layers=layers)
    return replace(size, shape=shape, prompt_layer=size.prompt_layer and size.prompt_layer - left_out)


def main(options: argparse.Namespace) -> None:
    """Measure, record, and print what was published. Raises SecfwtError."""
    whole = RUN.shape.layers
    if options.layers != [whole] and (len(options.layers) != 2 or not options.layers[0] < options.layers[1] <= whole):
        raise SecfwtError(f"--layers is {options.layers}: accepted are {whole}, or two depths up to it")
    record("paper", paper_rows(options), options.dry)
    print(PUBLISHED.format(iterations=PUBLISHED_GIGABYTES / ITERATION_GIGABYTES))


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--prompt-layer", nargs="+", type=at_least(0), default=[RUN.prompt_layer])
    parser.add_argument("--attention", nargs="+", choices=("rfa", "softmax"), default=["rfa"])
    parser.add_argument("--features", nargs="+", type=at_least(1), default=[FEATURES], help="of rfa, per head")
    parser.add_argument("--candidates", type=at_least(2), default=RUN.candidates)
    parser.add_argument("--examples", type=at_least(1), default=RUN.examples)
    parser.add_argument("--layers", nargs="+", type=at_least(1), default=[RUN.shape.layers], help="24, or two depths")
    parser.add_argument("--runs", type=at_least(0), default=3, help="generations, after a cold one")
    parser.add_argument("--threads", type=at_least(1), default=1, help="of a party")
    parser.add_argument("--dry", action="store_true", help="print only, add no row, draw nothing")
