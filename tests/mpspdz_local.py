"""MP-SPDZ on this machine for tests: an installation or a skip, three parties on loopback, a client, toy models."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from secfwt.codegen.build import build_plan
from secfwt.codegen.hf import read_model
from secfwt.codegen.mpspdz_options import PROTOCOLS
from secfwt.codegen.options import GenOptions
from secfwt.codegen.plan import Plan
from secfwt.runtime.mpspdz import Installation, MpSpdzError, compile_program, find

ONE = 2**16  # 1.0 at the default scale

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
CONFIGS = {
    "bert": ("Bert", SIZES | {"max_position_embeddings": 40}),
    "roberta": ("Roberta", SIZES | {"max_position_embeddings": 42, "pad_token_id": 1, "layer_norm_eps": 1e-5}),
    "distilbert": (
        "DistilBert",
        {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32, "max_position_embeddings": 40},
    ),
}
HEADS = {
    "classification": ("ForSequenceClassification", {"labels": ()}),
    "masked_lm": ("ForMaskedLM", {"label_words": ("good", "bad"), "template": "{text} {mask}"}),
    "prototypes": ("Model", {"label_texts": ("world news", "sports news", "science")}),
}


def toy_plan(folder: Path, family: str = "bert", head: str = "classification", **choices: object) -> Plan:
    """Model plan of a toy checkpoint's config.json."""
    name, sizes = CONFIGS[family]
    suffix, head_options = HEADS[head]
    config = {"model_type": family, "architectures": [name + suffix], "vocab_size": 50, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    defaults = {"sequence_length": 6, "n_prompt_tokens": 2, "intrinsic_dim": 4, "popsize": 3, "rfa_features": 8}
    options = GenOptions(**{**defaults, "head": head, **head_options, **choices})  # type: ignore[arg-type]
    return build_plan(read_model(folder, options), options)


def installation(protocol: str | None = None) -> Installation:
    """An installation with this party program, or a skip with the reason."""
    try:
        found = find()
        if protocol is not None:
            found.party(protocol)
    except MpSpdzError as error:
        pytest.skip(str(error))
    return found


_BASES = iter(range(20_000, 30_000, 16))


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nothing listens on; never the same twice."""
    for base in _BASES:
        sockets = [socket.socket() for _ in range(count)]
        try:
            for i, s in enumerate(sockets):
                s.bind(("", base + i))
        except OSError:
            continue
        else:
            return base
        finally:
            for s in sockets:
                s.close()
    raise AssertionError("no free ports")


class Parties:
    """Compiles a program and runs its parties; a context manager, so that no process stays behind."""

    def __init__(self, folder: Path, source: str, protocol: str = "ring") -> None:
        self.folder, self.protocol = folder, protocol
        self.installation = installation(protocol)
        self.count = PROTOCOLS[protocol].parties
        file = folder / "program.mpc"
        file.write_text(source)
        self.compiled = compile_program(self.installation, file, folder, protocol)
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Parties:
        data = self.folder / "Player-Data"
        data.mkdir(exist_ok=True)
        for name in [f"P{i}" for i in range(self.count)] + ["C0", "C1"]:
            certificate(data, name)
        subprocess.run(["openssl", "rehash", str(data)], check=True, capture_output=True)
        port = str(free_ports(self.count))
        command = [str(self.installation.party(self.protocol)), "-h", "localhost", "-pn", port]
        if self.protocol == "semi2k":
            command += ["-N", str(self.count)]
        for i in range(self.count):
            with (self.folder / f"party{i}.log").open("w") as log:
                self.processes.append(
                    subprocess.Popen([*command, "-p", str(i), "program"], cwd=self.folder, stdout=log, stderr=log)
                )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def join(self, timeout: float = 300) -> None:
        """Wait for the end of the run; fails with the parties' output when one of them did not succeed."""
        codes = [process.wait(timeout) for process in self.processes]
        assert codes == [0] * self.count, self.log()

    def log(self) -> str:
        """What the parties wrote."""
        return "\n".join((self.folder / f"party{i}.log").read_text() for i in range(self.count))


def certificate(folder: Path, name: str) -> None:
    """A self-signed certificate as MP-SPDZ's parties and clients present it."""
    command = ["openssl", "req", "-x509", "-nodes", "-subj", f"/CN={name}"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-out", str(folder / f"{name}.pem"), "-keyout", str(folder / f"{name}.key")]
    subprocess.run(command, check=True, capture_output=True)


def run_kernels(folder: Path, source: str, words: Sequence[np.ndarray], protocol: str = "ring") -> np.ndarray:
    """Run a program whose private input is `words` (int64) of party 0; what it writes as binary output, in units of
    2^-16.
    """
    (folder / "Player-Data").mkdir(exist_ok=True)
    flat = np.concatenate([np.ravel(w) for w in words])
    (folder / "Player-Data" / "Input-P0-0").write_text(" ".join(map(str, flat)))
    with Parties(folder, source, protocol) as parties:
        parties.join()
    return np.fromfile(folder / "Player-Data" / "Binary-Output-P0-0", dtype="<i8") / ONE


def fixed(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """round(values * 2^bits) modulo 2^64, as int64; bits up to 64."""
    whole = np.rint(np.ldexp(np.asarray(values, np.float64), min(bits, 62)))
    return whole.astype(np.int64).astype(np.uint64).__lshift__(np.uint64(max(bits - 62, 0))).astype(np.int64)


class Client:
    """A client of all parties in MP-SPDZ's protocol, numpy for speed; passive security only."""

    def __init__(self, folder: Path, number: int, parties: int, port: int, identity: Sequence[int]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(folder / f"C{number}.pem", folder / f"C{number}.key")
        context.load_verify_locations(capath=str(folder))
        self.sockets = []
        for i in range(parties):
            plain = connect(port + i)
            send(plain, str(number).encode())
            self.sockets.append(context.wrap_socket(plain, server_hostname=f"P{i}"))
        for s in self.sockets:
            receive(s)  # the computation domain
        for word in identity:
            self.say(word)

    def say(self, *words: int) -> None:
        """Public words, one message each."""
        for word in words:
            for s in self.sockets:
                send(s, struct.pack("<q", word))

    def give(self, words: np.ndarray, chunk: int) -> None:
        """Private ring elements in messages of `chunk`: the parties' shared random mask comes first."""
        flat = np.ravel(words).astype(np.uint64)
        for lo in range(0, flat.size, chunk):
            part = flat[lo : lo + chunk]
            data = (part + self.shares()).astype("<u8").tobytes()
            for s in self.sockets:
                send(s, data)

    def shares(self) -> np.ndarray:
        """Sum of one message of every party."""
        return np.sum([np.frombuffer(receive(s), "<u8") for s in self.sockets], axis=0, dtype=np.uint64)

    def close(self) -> None:
        """Close all connections."""
        for s in self.sockets:
            s.close()


def connect(port: int) -> socket.socket:
    """Connect to a party that may still be starting."""
    for _ in range(300):
        try:
            return socket.create_connection(("localhost", port), timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")


def send(to: socket.socket, data: bytes) -> None:
    """One length-prefixed message."""
    to.sendall(struct.pack("<I", len(data)) + data)


def receive(source: socket.socket) -> bytes:
    """One length-prefixed message."""
    (length,) = struct.unpack("<I", _exactly(source, 4))
    return _exactly(source, length)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = source.recv(count - len(data))
        assert part, "the party closed the connection"
        data += part
    return bytes(data)
