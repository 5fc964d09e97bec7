"""One encoder layer on CrypTen: two parties and a third that provides the multiplication triples, on loopback, weights
and input secret.

CrypTen's own softmax, inverse square root, cosine and sine; GELU as two polynomials in the manner of PUMA
(Dong et al. 2023, arXiv 2307.12533), because CrypTen has none and its error function is a short Taylor series. CrypTen
counts bytes and rounds itself: what party 0 sends and receives is all there is, and what party 1 takes part in are the
rounds that remain when triples are provided ahead of time.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from layer_file import Report, Task, finish, peak_memory, read_task, run_parties

PROVIDER = 2


def import_crypten() -> ModuleType:
    """CrypTen without its converter of ONNX models, which needs a PyTorch of 2022; nothing here does."""
    converter = ModuleType("crypten.nn.onnx_converter")
    converter.__dict__.update(from_onnx=None, from_pytorch=None, from_tensorflow=None, TF_AND_TF2ONNX=False)
    sys.modules[converter.__name__] = converter
    import crypten

    return crypten


def split(rows: Any, heads: int) -> Any:
    """`[tokens, heads·d]` to `[heads, tokens, d]`."""
    return rows.view(rows.size(0), heads, -1).transpose(0, 1)


def dense(w: dict[str, Any], name: str, x: Any) -> Any:
    """One linear layer."""
    return x.matmul(w[f"{name}.weight"].t()) + w[f"{name}.bias"]


def softmax_attention(w: dict[str, Any], x: Any, heads: int) -> Any:
    """Attention with CrypTen's softmax."""
    q, k, v = (split(dense(w, name, x), heads) for name in ("q", "k", "v"))
    scores = q.matmul(k.transpose(1, 2)) * q.size(-1) ** -0.5
    return scores.softmax(-1).matmul(v)


def random_feature_attention(w: dict[str, Any], x: Any, heads: int) -> Any:
    """Peng et al. 2021 with cosines and sines of folded phases, which are in turns."""
    q, k = (features(split(dense(w, f"phase_{name}", x), heads)) for name in ("query", "key"))
    v = split(dense(w, "v", x), heads)
    share = 2 / (k.size(-1) * k.size(1))
    numerator = q.matmul(k.transpose(1, 2).matmul(v) * share)
    denominator = q.matmul(k.sum(1).unsqueeze(-1) * share)
    return numerator * denominator.reciprocal()


def features(turns: Any) -> Any:
    """Cosines, then sines."""
    import crypten

    cosine, sine = (turns * (2 * math.pi)).cossin()
    return crypten.cat([cosine, sine], dim=-1)


def gelu(u: Any) -> Any:
    """0, a cubic, a sextic and the identity, parted at -4, -1.95 and 3."""
    square = u.square()
    cubic = ((u * -0.011034134030615728 - 0.11807612951181953) * u - 0.42226581151983866) * u - 0.5054031199708174
    even = ((square * 0.0018067462606141187 - 0.037688200365904236) * square + 0.3603292692789629) * square
    sextic = even + u * 0.5 + 0.008526321541038084
    first, second, last = u < -4, u < -1.95, u > 3
    return (second - first) * cubic + (1 - second - last) * sextic + last * u


def normalised(x: Any) -> Any:
    """Layer norm without its affine part."""
    x = x - x.mean(-1, keepdim=True)
    return x * (x.square().mean(-1, keepdim=True) + 1e-5).inv_sqrt()


def layer(w: dict[str, Any], heads: int, attention: str) -> Any:
    """The layer, from its affine part's input to the next one's."""
    attend = softmax_attention if attention == "softmax" else random_feature_attention
    x = w["x"] * w["embeddings.gamma"] + w["embeddings.beta"]
    context = attend(w, x, heads).transpose(0, 1).reshape(x.size())
    y = normalised(x + dense(w, "o", context)) * w["attention_norm.gamma"] + w["attention_norm.beta"]
    return normalised(y + dense(w, "ffn_out", gelu(dense(w, "ffn_in", y))))


def party(rank: int, meeting: str, task: Task, put: Callable[[Any], None]) -> None:
    """One party's process: runs the layer, then tells what it measured; the result is opened to all."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(PROVIDER), RENDEZVOUS=meeting, DISTRIBUTED_BACKEND="gloo")
    torch.set_num_threads(1)
    crypten = import_crypten()
    crypten.cfg.mpc.provider = "TTP"
    crypten.cfg.communicator.verbose = True
    crypten.cfg.functions.reciprocal_all_pos = True
    if rank == PROVIDER:
        crypten.mpc.provider.TTPServer()
        return put((peak_memory(),))
    crypten.init()
    communicator = crypten.communicator.get()
    weights = {name: crypten.cryptensor(torch.from_numpy(values), src=0) for name, values in task.inputs.items()}
    seconds = []
    for _ in range(task.runs + 1):
        communicator.barrier()
        communicator.reset_communication_stats()
        start = time.perf_counter()
        result = layer(weights, task.heads, task.attention)
        seconds.append(time.perf_counter() - start)
        cost = communicator.get_communication_stats()
    clear = result.get_plain_text().numpy()
    put((peak_memory(), seconds, cost, clear))
    crypten.uninit()


def main() -> None:
    """Share, run, open."""
    task = read_task()
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        told = run_parties(party, [(rank, meeting, task) for rank in range(PROVIDER + 1)])
    crypten = import_crypten()
    peaks = [answer[0] for answer in told]
    _, seconds, costs, results = zip(*told[:PROVIDER], strict=True)
    report = Report(
        engine=f"CrypTen {crypten.__version__}",
        protocol="two parties and a provider",
        parties=PROVIDER + 1,
        seconds=[max(each) for each in zip(*seconds, strict=True)],
        bytes_sent=int(costs[0]["bytes"]),
        rounds=int(costs[1]["rounds"]),
        peak_bytes=max(peaks),
    )
    finish(task, np.asarray(results[0]), report)


if __name__ == "__main__":
    main()
