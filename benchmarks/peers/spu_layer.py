"""One encoder layer on SPU: ABY3, three parties on loopback, weights and input secret.

Softmax attention and GELU in the manner of PUMA (Dong et al. 2023, arXiv 2307.12533): exponential cut off at -14, GELU
as two polynomials. `rfa`: random features with SPU's own sine and cosine, and its own reciprocal. 18 fraction bits,
five Taylor steps for the exponential (fewer than SPU's default: cheaper, less exact), truncation that may err in the
highest bit.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import spu
from layer_file import Report, Task, finish, peak_memory, read_task, run_parties
from spu import libspu
from spu.utils import frontend

PARTIES = 3
LINK = re.compile(r"Link details: total send bytes (\d+), .*recv actions (\d+)")


def split(rows: jnp.ndarray, heads: int) -> jnp.ndarray:
    """`[tokens, heads·d]` to `[heads, tokens, d]`."""
    return jnp.swapaxes(rows.reshape(rows.shape[0], heads, -1), 0, 1)


def softmax_attention(w: dict[str, Any], x: jnp.ndarray, heads: int) -> jnp.ndarray:
    """PUMA's softmax: scores less their largest, nothing below -14."""
    q, k, v = (split(dense(w, name, x), heads) for name in ("q", "k", "v"))
    scores = q @ jnp.swapaxes(k, 1, 2) * q.shape[-1] ** -0.5
    scores = scores - scores.max(-1, keepdims=True)
    powers = jnp.exp(scores) * (scores > -14)
    return powers * (1 / powers.sum(-1, keepdims=True)) @ v


def random_feature_attention(w: dict[str, Any], x: jnp.ndarray, heads: int) -> jnp.ndarray:
    """Peng et al. 2021 with cosines and sines of folded phases, which are in turns."""
    q, k = (features(split(dense(w, f"phase_{name}", x), heads)) for name in ("query", "key"))
    v = split(dense(w, "v", x), heads)
    share = 2 / (k.shape[-1] * k.shape[1])
    numerator = q @ (jnp.swapaxes(k, 1, 2) @ v * share)
    denominator = q @ (k.sum(1)[..., None] * share)
    return numerator * (1 / denominator)


def features(turns: jnp.ndarray) -> jnp.ndarray:
    """Cosines, then sines."""
    angles = 2 * np.pi * turns
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def gelu(u: jnp.ndarray) -> jnp.ndarray:
    """0, a cubic, a sextic and the identity, parted at -4, -1.95 and 3."""
    cubic = ((-0.011034134030615728 * u - 0.11807612951181953) * u - 0.42226581151983866) * u - 0.5054031199708174
    square = u * u
    even = ((0.0018067462606141187 * square - 0.037688200365904236) * square + 0.3603292692789629) * square
    sextic = even + 0.5 * u + 0.008526321541038084
    first, second, last = u < -4, u < -1.95, u > 3
    return (first ^ second) * cubic + (second ^ last ^ True) * sextic + last * u


def dense(w: dict[str, Any], name: str, x: jnp.ndarray) -> jnp.ndarray:
    """One linear layer."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def normalised(x: jnp.ndarray) -> jnp.ndarray:
    """Layer norm without its affine part."""
    x = x - x.mean(-1, keepdims=True)
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def layer(w: dict[str, Any], *, heads: int, attention: str) -> jnp.ndarray:
    """The layer, from its affine part's input to the next one's."""
    attend = softmax_attention if attention == "softmax" else random_feature_attention
    x = w["x"] * w["embeddings.gamma"] + w["embeddings.beta"]
    context = jnp.swapaxes(attend(w, x, heads), 0, 1).reshape(x.shape)
    y = normalised(x + dense(w, "o", context)) * w["attention_norm.gamma"] + w["attention_norm.beta"]
    return normalised(y + dense(w, "ffn_out", gelu(dense(w, "ffn_in", y))))


def configuration() -> libspu.RuntimeConfig:
    """ABY3 in Z_2^64."""
    config = libspu.RuntimeConfig(protocol=libspu.ProtocolKind.ABY3, field=libspu.FieldType.FM64, fxp_fraction_bits=18)
    config.fxp_exp_mode = libspu.RuntimeConfig.ExpMode.EXP_TAYLOR
    config.fxp_exp_iters = 5
    config.trunc_allow_msb_error = True
    config.enable_pphlo_profile = True
    return config


def compiled(task: Task) -> libspu.Executable:
    """The layer as SPU's byte code, all its inputs secret."""
    inputs = {name: values.astype(np.float32) for name, values in sorted(task.inputs.items())}
    secret = [libspu.Visibility.VIS_SECRET] * len(inputs)
    function = partial(layer, heads=task.heads, attention=task.attention)
    function.__name__ = "layer"
    executable, _ = frontend.compile(
        frontend.Kind.JAX,
        function,
        [inputs],
        {},
        list(inputs),
        secret,
        lambda flat: [f"out{i}" for i in range(len(flat))],
    )
    return executable


def party(
    rank: int, ports: list[int], code: bytes, shares: dict[str, Any], task: Task, put: Callable[..., None]
) -> None:
    """One party's process: runs the layer, then tells what it measured and its share of the result."""
    log = task.folder / f"spu{rank}.log"
    libspu.logging.setup_logging(logging_to(log))
    description = libspu.link.Desc()
    for i, port in enumerate(ports):
        description.add_party(f"party{i}", f"127.0.0.1:{port}")
    link = libspu.link.create_brpc(description, rank)
    runtime = spu.Runtime(link, configuration())
    executable = libspu.Executable()
    executable.ParseFromString(code)
    for name, share in shares.items():
        runtime.set_var(name, share)
    seconds = []
    for _ in range(task.runs + 1):
        link.barrier()
        start = time.perf_counter()
        runtime.run(executable)
        seconds.append(time.perf_counter() - start)
    result = runtime.get_var(executable.output_names[0])
    link.barrier()
    link.stop_link()
    sent, received = map(int, LINK.findall(log.read_text())[-1])
    put((seconds, sent, received, peak_memory(), result))


def logging_to(path: Path) -> libspu.logging.LogOptions:
    """SPU tells its traffic in its log alone."""
    options = libspu.logging.LogOptions()
    options.enable_console_logger = False
    options.system_log_path = str(path)
    options.trace_log_path = str(path.with_suffix(".trace"))
    return options


def free_ports() -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(PARTIES)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> None:
    """Share, run, reconstruct."""
    task = read_task()
    io = spu.Io(PARTIES, configuration())
    shares = {
        name: io.make_shares(values.astype(np.float32), libspu.Visibility.VIS_SECRET)
        for name, values in task.inputs.items()
    }
    code, ports = compiled(task).SerializeToString(), free_ports()
    own = [{name: parts[rank] for name, parts in shares.items()} for rank in range(PARTIES)]
    told = run_parties(party, [(rank, ports, code, own[rank], replace(task, inputs={})) for rank in range(PARTIES)])
    seconds, sent, received, peaks, results = zip(*told, strict=True)
    report = Report(
        engine=f"SPU {spu.__version__}",
        protocol="ABY3",
        parties=PARTIES,
        seconds=[max(each) for each in zip(*seconds, strict=True)],
        bytes_sent=sum(sent),
        rounds=max(received),
        peak_bytes=max(peaks),
    )
    finish(task, io.reconstruct(list(results)), report)


if __name__ == "__main__":
    main()
