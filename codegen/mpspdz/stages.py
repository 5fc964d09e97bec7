"""The two stages of an MP-SPDZ program: `load` takes a tile of examples, `evaluate` several under candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .options import MpSpdzOptions
from .program import Call, Container, MpcProgram


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
            if call.result in read:
                read |= set(call.arguments)
            else:
                calls.remove(call)


def _keep(program: MpcProgram, shapes: Mapping[str, tuple[int, ...]], options: MpSpdzOptions) -> None:
    """Give `evaluate` the results of `load` that it reads, as containers over all tiles."""
    read = {argument for call in program.evaluate for argument in call.arguments}
    names = [call.result for call in program.load if call.result in read]
    batch = options.tiles, options.tile
    program.kept = [Container(name, (*batch, *shapes[name]), (name,), options.fraction_bits) for name in names]
    _rename(program, {name: f"kept_{name}[tile]" for name in names})


def _pick(program: MpcProgram) -> None:
    """Let `evaluate` take several tiles, each under one candidate."""
    picks: dict[str, Call] = {}
    for argument in (argument for call in program.evaluate for argument in call.arguments):
        name, bracket, index = argument.partition("[")
        if bracket and index in ("tile]", "candidate]"):
            picks[argument] = Call(f"{name}_pairs", "picked", (name, f"{index.removesuffix(']')}s"))
    _rename(program, {argument: call.result for argument, call in picks.items()})
    program.evaluate[:0] = picks.values()


def _rename(program: MpcProgram, names: Mapping[str, str]) -> None:
    """Other arguments for the calls of `evaluate`."""
    program.evaluate = [
        replace(call, arguments=tuple(names.get(a, a) for a in call.arguments)) for call in program.evaluate
    ]
