"""MP-SPDZ as a run opens and closes it: generate, compile, start local parties, share the weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...codegen import VERSION
from ...codegen.model.weights import Weights
from ...codegen.mpspdz.calls import translate
from ...codegen.mpspdz.options import MpSpdzOptions
from ...codegen.mpspdz.protocols import PROTOCOLS, ProtocolName
from ...codegen.mpspdz.text import identity, render
from ...codegen.plan.graph import Plan
from ...mpc_programs.lib.wire import DATA_OWNER, MODEL_OWNER
from ..errors import RunFolderError
from ..parties.processes import uninterrupted
from ..progress import Display
from ..run_folder import private_folder
from .certificates import FOLDER, make_player_data
from .client import MpSpdzClient
from .compiler import compile_program
from .engine import MpSpdzEngine
from .inputs import weight_words
from .installation import find, find_party
from .machines import MpSpdzParties

TILE = 8


def options_for(protocol: ProtocolName, sets: Sequence[int], round_nearest: bool = False) -> MpSpdzOptions:
    """A program that holds sets of these sizes at once, in tiles no larger than the largest."""
    tile = min(TILE, max(sets))
    tiles = sum(-(-size // tile) for size in sets)
    return MpSpdzOptions(protocol=protocol, examples=tiles * tile, tile=tile, round_nearest=round_nearest)


@contextmanager
def mpspdz_engine(
    plan: Plan, weights: Weights, options: MpSpdzOptions, folder: Path, display: Display, given: str = ""
) -> Iterator[MpSpdzEngine]:
    """Parties of MP-SPDZ as processes of this machine, over TLS, with the model's weights shared among them.

    Everything lies in a folder of its own for protocol, ring and number of parties, below `folder`, where the logs go;
    keys are removed at the end. This process plays both owners, as two clients; the parties see shares only.
    `given`: MP-SPDZ's folder, where it is not in the usual places. Raises MpSpdzError, ProblemsFound, RangeError,
    ServiceError.
    """
    protocol, name = PROTOCOLS[options.protocol], "program"
    installation = find(given or None)
    binary = find_party(installation, options.protocol)
    program = translate(plan, options)
    text = render(plan, options, version=VERSION, source_hash=plan_hash(plan), command="secfwt-tune")
    work = folder / f"{options.protocol}-64-{protocol.parties}"
    source = work / f"{name}.mpc"
    try:
        private_folder(folder)
        work.mkdir(exist_ok=True)
        source.write_text(text, encoding="utf-8")
        shutil.rmtree(work / FOLDER, ignore_errors=True)  # of a run that was killed
    except OSError as error:
        raise RunFolderError(f"cannot write the parties' files in {work}: {error.strerror}") from None
    display.note(f"program  compiling with MP-SPDZ {installation.version} for {options.protocol}")
    compiled = compile_program(installation, source, work, options.protocol)
    display.note(f"program  compiled in {compiled.seconds:.0f} s")
    try:
        certificates = make_player_data(work, protocol.parties)
        with MpSpdzParties(binary, options.protocol, name, work, folder, batch=compiled.batch) as parties:

            def client(number: int) -> MpSpdzClient:
                return MpSpdzClient(
                    number, parties.clients, certificates, identity(text), active=protocol.active, watch=parties.check
                )

            with client(MODEL_OWNER) as model_owner, client(DATA_OWNER) as data_owner:
                for words in weight_words(program, options, weights):
                    model_owner.give(words)
                for owner in (model_owner, data_owner):
                    owner.hear()
                display.note(f"weights  shared among {protocol.parties} local parties ({binary.name})")
                engine = MpSpdzEngine(plan, program, options, data_owner, parties, display.part)
                try:
                    yield engine
                finally:
                    with uninterrupted():
                        engine.close()
                        parties.close()
    finally:
        shutil.rmtree(work / FOLDER, ignore_errors=True)


def plan_hash(plan: Plan) -> str:
    """SHA-256 of a model plan's operations."""
    content = [(v.kind, v.inputs, v.shape, sorted(v.weights.items()), sorted(v.attrs.items())) for v in plan]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()
