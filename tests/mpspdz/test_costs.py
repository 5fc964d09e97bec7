"""What a step of a generated program sends, beside its layers alone, whose every need the compiler knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.mpspdz_local import Toy, configure, installation
from rich.console import Console
from secfwt.codegen.mpspdz.calls import translate
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.mpspdz.program import Call, MpcProgram
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.mpc_programs.lib.wire import TIMER
from secfwt.runtime.engine import Cost
from secfwt.runtime.mpspdz.certificates import make_player_data
from secfwt.runtime.mpspdz.compiler import compile_program
from secfwt.runtime.mpspdz.installation import find_party
from secfwt.runtime.mpspdz.local import mpspdz_engine, options_for
from secfwt.runtime.mpspdz.machines import MpSpdzParties
from secfwt.runtime.progress import make_display

LAYER = """
from lib import encoder
x, mask, reads = (tensor(shape) for shape in (({rows}, {tokens}, {hidden}), ({rows}, {tokens}), ({rows}, {hidden})))
w = {{role: tensor(shape, sint if integer else sfix) for role, (shape, integer) in {roles}.items()}}
for container in (x, mask, reads, *w.values()):
    container.assign_all(0)
break_point()
start_timer({timer})
{kernel}({inputs} x, mask, w, **{keywords})
stop_timer({timer})
"""


def layer_cost(folder: Path, program: MpcProgram, call: Call, options: MpSpdzOptions, tokens: int) -> Cost:
    """Of one call on as many rows as a step has, by itself: all sizes are known, and nothing is in a loop."""
    folder.mkdir()
    found, protocol = installation(options.protocol), options.protocol
    roles = program.stacks[call.arguments[-1].name]
    source = folder / "program.mpc"
    text = LAYER.format(
        rows=program.pair_tiles * options.tile, tokens=tokens, hidden=roles["o.bias"].shape[-1], timer=TIMER,
        roles={role: (c.shape, c.integer) for role, c in roles.items()}, kernel=call.kernel,
        inputs="reads," if call.kernel.endswith("reading_layer") else "", keywords=dict(call.keywords),
    )  # fmt: skip
    source.write_text(configure(protocol, options.budget) + text)
    compiled = compile_program(found, source, folder, protocol)
    make_player_data(folder, PROTOCOLS[protocol].parties)
    binary = find_party(found, protocol)
    with MpSpdzParties(binary, protocol, "program", folder, folder, batch=compiled.batch) as parties:
        codes = parties.wait(120)
        assert set(codes) == {0}, (folder / "party0.log").read_text()
        return parties.cost(0)


@pytest.mark.slow
def test_a_step_sends_no_more_than_twice_what_its_layers_do(tmp_path: Path) -> None:
    """MP-SPDZ's compiler cannot count a service's loop: left to that, parties make a full batch of every kind, and take
    matrix products apart.
    """
    protocol = "dealer-ring"
    installation(protocol)
    toy = Toy(tmp_path)
    options = options_for(protocol, [4])
    program = translate(toy.plan, options)
    display = make_display(Console(quiet=True))
    with mpspdz_engine(toy.plan, toy.weights, options, tmp_path / "parties", display) as engine:
        engine.load_examples("train", toy.batch)
        before = engine.cost()
        losses = engine.losses("train", toy.z)
        step = engine.cost()
    np.testing.assert_allclose(losses, toy.reference()["loss"], atol=1e-3)
    calls = [call for call in program.evaluate if call.kernel.startswith("encoder.")]
    assert len(calls) == 2
    layers = [layer_cost(tmp_path / call.result, program, call, options, tokens=8) for call in calls]
    assert step.bytes_sent - before.bytes_sent < 2 * sum(layer.bytes_sent for layer in layers)
    assert step.rounds - before.rounds < 2 * sum(layer.rounds for layer in layers)
