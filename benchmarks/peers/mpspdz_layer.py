"""One encoder layer, weights and input secret, on local parties of MP-SPDZ over TLS: our party program and MP-SPDZ's
run the same bytecode; --bert-layer adds MP-SPDZ's own layer (softmax attention) on its own parties: minutes.

    python benchmarks/run.py mpspdz-layer [--shape minilm] [--tokens 128] [--protocol ring] [--runs 5] [--bert-layer]
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from secfwt.codegen.mpspdz.protocols import PROTOCOLS, ProtocolName
from secfwt.runtime.mpspdz.certificates import make_player_data
from secfwt.runtime.mpspdz.compiler import Compiled, compile_program
from secfwt.runtime.mpspdz.installation import Installation, MpSpdzError, find, own_party
from secfwt.runtime.mpspdz.machines import MpSpdzParties

from peers.mpspdz_programs import Layer, bert_layer, our_layer
from performance.models import FEATURES, SHAPES, EncoderSize
from rows import Row, measured, write

STOPPED = re.compile(r"Stopped timer 1 at ([\d.e+-]+) \(([\d.e+-]+) MB, (\d+) rounds\)")


def prepare(folder: Path, installation: Installation, layer: Layer, protocol: ProtocolName) -> Compiled:
    """Compile the program in `folder`, with certificates and the input of party 0."""
    source = folder / "program.mpc"
    source.write_text(layer.source)
    compiled = compile_program(installation, source, folder, protocol)
    make_player_data(folder, PROTOCOLS[protocol].parties)
    (folder / "Player-Data" / "Input-P0-0").write_text(" ".join(map(str, layer.words)))
    return compiled


def run(
    compiled: Compiled, program: Path, protocol: ProtocolName
) -> tuple[np.ndarray, list[list[tuple[float, ...]]], float]:
    """Result in units of 1; of every party the timer's seconds, megabytes and rounds after every layer; peak MB."""
    peak, folder = 0.0, compiled.folder
    with MpSpdzParties(program, protocol, compiled.name, folder, folder, batch=compiled.batch) as parties:
        while None in (codes := parties.wait(0.2)):
            peak = max(peak, *map(memory, parties.pids))
    logs = [(folder / f"party{i}.log").read_text() for i in range(len(codes))]
    if set(codes) != {0}:
        raise SystemExit(f"{program.name} ended with codes {codes}:\n{logs[0]}")
    output = folder / "Player-Data" / "Binary-Output-P0-0"
    result = np.fromfile(output, "<i8") / 2**16
    output.unlink()
    return result, [[tuple(map(float, line)) for line in STOPPED.findall(log)] for log in logs], peak


def memory(pid: int) -> float:
    """Resident memory of a process in MB, 0 once it has ended."""
    try:
        return psutil.Process(pid).memory_info().rss / 1e6
    except psutil.Error:
        return 0.0


def measure(compiled: Compiled, program: Path, layer: Layer, protocol: ProtocolName, threads: int, what: str) -> Row:
    """One row: the first layer is the cold one."""
    task = layer.task
    result, timers, peak = run(compiled, program, protocol)
    seconds = np.diff([0.0] + [line[0] for line in timers[0]])
    last, previous = ([party[i] for party in timers] for i in (-1, -2))
    return measured(
        benchmark="mpspdz_layer",
        engine=what,
        protocol=protocol,
        parties=len(timers),
        attention=task.attention,
        shape=str(task.shape),
        tokens=len(task.clear),
        features=FEATURES if task.attention == "rfa" else 0,
        seconds=seconds.tolist(),
        bytes_sent=1e6 * sum(now[1] - before[1] for now, before in zip(last, previous, strict=True)),
        rounds=int(max(now[2] - before[2] for now, before in zip(last, previous, strict=True))),
        peak_bytes=1e6 * peak,
        error=result.reshape(task.clear.shape) - task.clear,
        threads=threads,
    )


def layer_rows(shape: EncoderSize, tokens: int, protocol: ProtocolName, runs: int, threads: int) -> Iterator[Row]:
    """Our layer on our party program, then on MP-SPDZ's. Raises MpSpdzError where there is none."""
    installation = find()
    stock, own = installation.party(protocol), own_party(protocol)
    if own is None:
        raise MpSpdzError(f"no party program of ours for {protocol}; run ./build.sh")
    os.environ["SECFWT_THREADS"] = str(threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        layer = our_layer(shape, tokens, protocol, runs + 1)
        compiled = prepare(folder, installation, layer, protocol)
        for program, what in ((own, "MP-SPDZ, our party"), (stock, "MP-SPDZ, stock party")):
            yield measure(compiled, program, layer, protocol, threads, what)


def bert_layer_row(shape: EncoderSize, tokens: int, protocol: ProtocolName) -> Row:
    """MP-SPDZ's own layer on its own party program, a cold run and one more. Raises MpSpdzError where there is none."""
    installation = find()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        layer = bert_layer(shape, tokens, protocol, 2)
        compiled = prepare(folder, installation, layer, protocol)
        return measure(
            compiled, installation.party(protocol), layer, protocol, 1, "MP-SPDZ, stock party, its own layer"
        )


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["minilm"])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="ring")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of our matrix product, a party")
    parser.add_argument("--bert-layer", action="store_true", help="MP-SPDZ's own layer as well")
    parser.add_argument("--dry", action="store_true", help="print only, add no row")


def main(options: argparse.Namespace) -> None:
    """Measure, print, append rows."""
    for name in options.shape:
        found = list(layer_rows(SHAPES[name], options.tokens, options.protocol, options.runs, options.threads))
        if options.bert_layer:
            found.append(bert_layer_row(SHAPES[name], options.tokens, options.protocol))
        print(*found, sep="\n", flush=True)
        print(f"{name}: stock / ours = {found[1].seconds / found[0].seconds:.1f}")
        if not options.dry:
            write("mpspdz_layer", found)
