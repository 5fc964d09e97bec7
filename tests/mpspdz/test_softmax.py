"""Softmax attention's kernels on the real VM, against the series that they evaluate and softmax in float64; tolerances
are what docstrings promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.mpspdz_local import OTHERS, WAYS, configure, fixed, installation, run_kernels, toy_plan
from secfwt.codegen.mpspdz.attention import Attention
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.codegen.series.ranges import LOWEST_SCORE, Ranges
from secfwt.codegen.series.softmax import PLATEAU, period, root_weight

UNIT = 2**-16
ERROR = {True: 5e-3, False: 2e-4}
"""Of attention, relative to the largest value, with masked openings and without: a series is right to 1 % of √w, which
the mean over a row's keys brings down; an exponential to 3e-4. Measured: 1.6e-3 and 8e-5."""
B, T, H, HEADS = 2, 10, 16, 4
N = 400


def keywords(folder: Path, masked_openings: bool) -> dict[str, object]:
    """What the generator says of a toy's attention, but for variant and heads."""
    layer = next(v for v in toy_plan(folder, attention="softmax") if v.kind == "encoder_layer")
    protocol = "ring" if masked_openings else "rep4-ring"
    said = Attention(Ranges(), protocol).keywords([layer])
    return {name: value for name, value in said.items() if name not in ("variant", "heads")}


WEIGHTS = """
from lib import softmax
scores, sums = get({n}), get({n})
weights = softmax.weights(scores.get_vector().v * 2**16, **{keywords})
weights.get_vector().reveal().binary_output(0)
out(softmax.inverse(sums.get_vector()))
"""


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, bool]:
    return WAYS[request.param]


def test_weights_and_inverse(tmp_path: Path, way: dict[str, bool]) -> None:
    masked = way.get("masked_openings", True)
    s, n = np.linspace(LOWEST_SCORE, PLATEAU + 5, N), np.geomspace(0.05, 40, N)
    words = [fixed(s), fixed(n)]
    source = configure(**way) + WEIGHTS.format(n=N, keywords=keywords(tmp_path, masked))
    weights, inverse = run_kernels(tmp_path, source, words).reshape(2, N)
    s, n = (w * UNIT for w in words)
    np.testing.assert_allclose(inverse, 1 / n, rtol=2e-4, atol=6 * UNIT * (1 / n.min()) ** 0.5)
    exact = np.exp(np.minimum(s, PLATEAU))
    if not masked:
        np.testing.assert_allclose(weights, exact, rtol=3e-4, atol=3 * UNIT)
        return
    root = root_weight(LOWEST_SCORE, period(LOWEST_SCORE))(s / period(LOWEST_SCORE))
    assert np.all(np.abs(weights - root**2) <= 8e-4 * np.abs(root) + 2 * UNIT)
    below = s < PLATEAU - 0.7
    np.testing.assert_allclose(weights[below], exact[below], rtol=0.021, atol=0.01)  # the fit's 0.01, twice


ATTEND = """
from lib import pooling, softmax
from lib.tensor import view
x, mask, w = get({B}, {T}, {h}), get({B}, {T}), {{}}
for name, width in dict(q={h}, k={h}, v={h}, log_sum={H}).items():
    w[name + ".weight"], w[name + ".bias"] = get({h}, width), get(width)
first = view(pooling.first_row(x), {B}, 1, {h})
for reads in x, first:
    out(softmax.attend(reads, x, mask, w, heads={H}, **{keywords}))
"""


class Case:
    """Rows with padding, weights, the linear estimate of log-sum-exps, and softmax attention in float64."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        x = rng.standard_normal((B, T, H))
        mask = np.ones((B, T))
        mask[1, 7:] = 0
        q, k, v = ((rng.standard_normal((H, H)) / 4, rng.standard_normal(H) * 0.1) for _ in range(3))
        query, key, value = (
            (x @ w + b).reshape(B, T, HEADS, -1).transpose(0, 2, 1, 3) for w, b in ((q[0] / 2, q[1] / 2), k, v)
        )
        scores = query @ key.swapaxes(-1, -2)
        scores = np.where(mask[:, None, None] > 0, scores, -np.inf)
        weights = np.exp(scores)
        sums = weights.sum(axis=-1, keepdims=True)
        self.output = (weights / sums @ value).transpose(0, 2, 1, 3).reshape(B, T, H)
        self.largest = np.abs(value).max()
        rows = np.concatenate([x.reshape(-1, H), np.ones((B * T, 1))], axis=1)
        estimate = np.linalg.lstsq(rows, np.log(sums[..., 0]).transpose(0, 2, 1).reshape(-1, HEADS), rcond=None)[0]
        parts = [x, mask, q[0] / 2, q[1] / 2, *k, *v, estimate[:-1], estimate[-1]]
        self.words = [fixed(part) for part in parts]


def check_attention(folder: Path, source: str, protocol: str, tolerance: float) -> None:
    case = Case()
    got = run_kernels(folder, source, case.words, protocol)
    rows = case.output.size
    for found, want in ((got[:rows], case.output), (got[rows:], case.output[:, 0])):
        np.testing.assert_allclose(found.reshape(want.shape), want, atol=tolerance * case.largest, rtol=0)


def attend(folder: Path, masked: bool) -> str:
    return ATTEND.format(B=B, T=T, h=H, H=HEADS, keywords=keywords(folder, masked))


@pytest.mark.parametrize("budget", [1000, 200_000])
def test_attention_is_softmax(tmp_path: Path, way: dict[str, bool], budget: int) -> None:
    masked = way.get("masked_openings", True)
    source = configure(budget=budget, **way) + attend(tmp_path, masked)
    check_attention(tmp_path, source, "ring", ERROR[masked])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", OTHERS)
def test_other_protocols_compute_the_same(tmp_path: Path, protocol: str) -> None:
    installation(protocol)
    masked = PROTOCOLS[protocol].masked_openings
    check_attention(tmp_path, configure(protocol) + attend(tmp_path, masked), protocol, ERROR[masked])
