"""The two stages of an MP-SPDZ program: `load` takes a tile of examples, `evaluate` several under candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .options import MpSpdzOptions
from .program import Axis, Call, Container, MpcProgram, Ref


def join_stages(program: MpcProgram, shapes: Mapping[str, tuple[int, ...]], options: MpSpdzOptions) -> None:
    """Finish a program whose calls are written for one tile and one candidate; `shapes`: of an example's results."""
    _drop_unread(program)
    _keep(program, shapes, options)
    _pick(program)


def _drop_unread(program: MpcProgram) -> None:
    """Leave out calls whose results nobody reads."""
    read = {program.loss, program.logits}
    for calls in (program.evaluate, program.load):
        for call in reversed(calls.copy()):
            if read.intersection(call.results):
                read |= {ref.name for ref in call.arguments}
            else:
                calls.remove(call)


def _keep(program: MpcProgram, shapes: Mapping[str, tuple[int, ...]], options: MpSpdzOptions) -> None:
    """Give `evaluate` the results of `load` that it reads, as containers over all tiles."""
    read = {ref.name for call in program.evaluate for ref in call.arguments}
    names = [name for call in program.load for name in call.results if name in read]
    for name in names:
        each = shapes[name] if name in program.by_layer else (options.tile, *shapes[name])
        program.kept.append(Container(name, (options.tiles, *each), (name,), options.fraction_bits))
    tiled = {Ref(name): Ref(f"kept_{name}", None if name in program.by_layer else Axis.TILE) for name in names}
    _read_instead(program, tiled)


def _pick(program: MpcProgram) -> None:
    """Let `evaluate` take several tiles, each under one candidate: `picked` gathers the elements of all of them."""
    picks: dict[Ref, Call] = {}
    for ref in (ref for call in program.evaluate for ref in call.arguments):
        if ref.axis:
            picks[ref] = Call(f"{ref.name}_pairs", "picked", (Ref(ref.name), Ref(f"{ref.axis.value}s")))
    _read_instead(program, {ref: Ref(call.result) for ref, call in picks.items()})
    program.evaluate[:0] = picks.values()


def _read_instead(program: MpcProgram, refs: Mapping[Ref, Ref]) -> None:
    """Other arguments for the calls of `evaluate`."""
    program.evaluate = [
        replace(call, arguments=tuple(refs.get(ref, ref) for ref in call.arguments)) for call in program.evaluate
    ]
