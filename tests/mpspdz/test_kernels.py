"""Kernels on the real VM against numpy; each tolerance is what the kernel's docstring promises."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from helpers.mpspdz_local import OTHERS, WAYS, configure, fixed, installation, run_kernels

ELEMENTWISE = """
from lib import activations, attention, masked_opening, normalization, trigonometry
from lib.tensor import rescale
near, x, phase, positive, small = get({n}), get({n}), get({n}, kind=sint), get({n}), get({n})
out(activations.gelu(near, reach=12))
out(activations.tanh(near))
out(activations.softplus(x.get_vector()))
out(activations.relu(x))
for part in trigonometry.cos_sin(phase.get_vector()):
    out(rescale(part, masked_opening.PHASOR_BITS))
out(normalization.inverse_sqrt(positive.get_vector()))
out(attention.reciprocal(small.get_vector(), 0.02, 1.1))
"""
N = 600
erf = np.vectorize(math.erf)


def elementwise_inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    near = np.concatenate([np.linspace(-4, 4, N - 300), np.linspace(-11, 11, 300)])
    x = np.concatenate([near[:-200], np.linspace(-127, 127, 200)])
    phase = rng.integers(-(2**63), 2**63, N)
    phase[:4] = [0, 2**63 - 1, -(2**63), 2**62]
    return [
        fixed(near), fixed(x), phase, fixed(np.geomspace(0.05, 200, N)), fixed(np.linspace(-0.1, 1.1, N)),
    ]  # fmt: skip


def elementwise_reference(words: list[np.ndarray]) -> dict[str, np.ndarray]:
    near, x, positive, small = (words[i] / 2**16 for i in (0, 1, 3, 4))
    angle = words[2] * (math.pi / 2**63)
    return {
        "gelu": near / 2 * (1 + erf(near / math.sqrt(2))), "tanh": np.tanh(near), "softplus": np.logaddexp(0, x),
        "relu": np.maximum(x, 0), "cos": np.cos(angle), "sin": np.sin(angle), "inverse_sqrt": positive**-0.5,
        "reciprocal": 1 / np.maximum(small, np.rint(0.02 * 2**16) / 2**16),
    }  # fmt: skip


TOLERANCE = {
    "gelu": (2e-4, 0), "tanh": (3e-4, 0), "softplus": (5e-4, 0), "relu": (0, 0), "cos": (1e-4, 0), "sin": (1e-4, 0),
    "inverse_sqrt": (5e-5, 1e-4), "reciprocal": (6.2e-5, 1e-4),
}  # fmt: skip


@pytest.fixture(scope="module", params=WAYS)
def elementwise(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    words = elementwise_inputs()
    source = configure(**WAYS[request.param]) + ELEMENTWISE.format(n=N)
    got = run_kernels(tmp_path_factory.mktemp("elementwise"), source, words)
    reference = elementwise_reference(words)
    return dict(zip(reference, zip(got.reshape(-1, N), reference.values(), strict=True), strict=True))


@pytest.mark.parametrize("name", TOLERANCE)
def test_elementwise(elementwise: dict[str, tuple[np.ndarray, np.ndarray]], name: str) -> None:
    got, want = elementwise[name]
    absolute, relative = TOLERANCE[name]
    np.testing.assert_allclose(got, want, atol=absolute, rtol=relative)


OPENINGS = """
from Compiler.types import personal
from lib import masked_opening
phase = get({n}, kind=sint)
for _ in range(2):
    own = masked_opening.own_number(phase.get_vector())
    for party in {parties}:
        sint(personal(party, own)).reveal().binary_output(0)
        break_point()
"""


@pytest.mark.parametrize(("protocol", "parties"), [("ring", (0, 1)), ("dealer-ring", (0, 2)), ("dealer-ring", (1, 2))])
def test_each_side_sees_a_fresh_uniform_number_and_the_phase_is_the_difference(
    tmp_path: Path, protocol: str, parties: tuple[int, int]
) -> None:
    count = 4000
    phase = np.full(count, 12345)
    source = configure(protocol) + OPENINGS.format(n=count, parties=parties)
    run_kernels(tmp_path, source, [phase], protocol)
    views = words_written(tmp_path).reshape(2, 2, count).swapaxes(0, 1).reshape(2, -1)
    np.testing.assert_array_equal(views[0] - views[1], np.tile(phase, 2))
    for view in views:
        is_fresh_and_uniform(view)


SUMMANDS = """
from Compiler.types import personal
from lib import masked_opening

def tells_the_dealer_registers():
    made = (each for block in program.curr_tape.basicblocks for each in block.instructions)
    return any("convmodp" in type(each).__name__ for each in made)

phase = get({n}, kind=sint).get_vector()
masked_opening.cos_sin(phase), masked_opening.wave(phase, [0.5, 0.25])
told = []
reveal = sint.reveal_to
sint.reveal_to = lambda value, party: told.append(reveal(value, party)) or told[-1]
own = masked_opening.own_number(phase)
assert not tells_the_dealer_registers()
for view in [*told, personal(2, own)]:
    sint(view).reveal().binary_output(0)
    break_point()
assert tells_the_dealer_registers()
"""


def test_no_computing_party_knows_more_than_a_summand_of_the_dealers_mask(tmp_path: Path) -> None:
    count = 4000
    source = configure("dealer-ring") + SUMMANDS.format(n=count)
    run_kernels(tmp_path, source, [np.full(count, 12345)], "dealer-ring")
    left, right, mask = words_written(tmp_path).reshape(3, count)
    np.testing.assert_array_equal(left + right, mask)
    for view in (left, right):
        is_fresh_and_uniform(view)


def words_written(folder: Path) -> np.ndarray:
    return np.fromfile(folder / "Player-Data" / "Binary-Output-P0-0", "<i8")


def is_fresh_and_uniform(view: np.ndarray) -> None:
    assert len(set(view)) == len(view), "a mask is used twice"
    ones = np.unpackbits(view.view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 6 * 0.5 / math.sqrt(len(view)), "a bit that is not uniform"


MASKED = """
from lib import bit_phasors
phase = get({n}, kind=sint)
for _ in range(2):
    opened, bits = bit_phasors.masked(phase.get_vector())
    opened.binary_output()
    (sint.bit_compose(bits).reveal() * 2**{low}).binary_output()
"""


def test_the_phase_is_opened_under_a_fresh_uniform_mask_whose_bits_are_shared(tmp_path: Path) -> None:
    count, low = 4000, 64 - 18
    phase = np.full(count, 12345)
    source = configure(trunc_pr=False) + MASKED.format(n=count, low=low)
    run_kernels(tmp_path, source, [phase])
    opened, masks = words_written(tmp_path).reshape(2, 2, count).swapaxes(0, 1).reshape(2, -1)
    is_fresh_and_uniform(opened)
    assert np.abs(opened - masks - 12345).max() <= 2 ** (low - 1)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", OTHERS)
def test_other_protocols_compute_the_same(tmp_path: Path, protocol: str) -> None:
    installation(protocol)
    words = [w[::60] for w in elementwise_inputs()]
    source = configure(protocol) + ELEMENTWISE.format(n=len(words[0]))
    got = run_kernels(tmp_path, source, words, protocol).reshape(-1, len(words[0]))
    for row, (name, want) in zip(got, elementwise_reference(words).items(), strict=True):
        absolute, relative = TOLERANCE[name]
        np.testing.assert_allclose(row, want, atol=2 * absolute, rtol=2 * relative, err_msg=name)


B, T, H_, HEADS, F, INNER, LABELS = 3, 6, 16, 4, 8, 32, 5
TENSORS = """
from lib import attention, encoder, heads, losses, normalization, pooling, prompt
from lib.tensor import view
x, mask, w = get({B}, {T}, {h}), get({B}, {T}), {{}}
for name in ("phase_query", "phase_key"):
    w[name + ".weight"], w[name + ".bias"] = get({h}, {A}, kind=sint), get({A}, kind=sint)
w["features"] = get({H}, {F}, {D}, kind=sint)
square = {h}, {h}
for name, shape in dict(q=square, k=square, v=square, o=square, ffn_in=({h}, {I}), ffn_out=({I}, {h})).items():
    w[name + ".weight"], w[name + ".bias"] = get(*shape), get(shape[-1])
w["attention_norm.gamma"], w["attention_norm.beta"] = get({h}), get({h})
logits, labels, weights = get({B}, {L}), get({B}, {L}), get({B}, 1)
prototypes, rows, select = get({h}, {L}), get({B}, 2, {h}), get({B}, {T})
sizes = dict(heads={H}, features={F}, floor=0.02)
out(attention.folded(x, x, mask, w, **sizes))
out(attention.paper(x, x, mask, w, **sizes))
out(normalization.normalize(x, 1e-12))
out(normalization.normalize(x, 0.5))
out(normalization.normalize(get(7, {h}), 1e-12))
eps = dict(attention_eps=1e-12, output_eps=1e-12)
layer = dict(variant="folded", act="gelu", reach=12, **eps, **sizes)
out(encoder.encoder_layer(x, x, mask, w, **layer))
stack = {{role: view(weight, 1, *weight.shape) for role, weight in w.items()}}
stack["input_norm.gamma"], stack["input_norm.beta"] = (view(get({h}), 1, {h}) for _ in range(2))
out(encoder.reading_layer(pooling.first_row(x), x, mask, stack, **layer))
out(losses.cross_entropy(logits, labels))
hinge = losses.hinge(logits, labels, margin=2.0)
out(hinge)
out(losses.mean_examples(hinge, weights, tiles={B}))
out(heads.cosine(pooling.first_row(x), prototypes, temperature=20.0))
out(pooling.select_row(x, select))
out(prompt.insert(x, rows))
out(prompt.insert_mask(mask, n=2, value=1.0))
""".format(B=B, T=T, h=H_, H=HEADS, F=F, A=HEADS * F, D=H_ // HEADS, I=INNER, L=LABELS)


class TensorCase:
    """Inputs of the tensor kernels and what numpy makes of them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.words: list[np.ndarray] = []

        def put(values: np.ndarray, bits: int = 16) -> np.ndarray:
            self.words.append(fixed(values, bits))
            return values

        normal = rng.standard_normal
        self.x = put(normal((B, T, H_)))
        self.mask = np.ones((B, T))
        self.mask[1, 4:] = 0
        put(self.mask)
        self.w = w = {}
        for name in ("phase_query", "phase_key"):
            w[name] = put(normal((H_, HEADS * F)) * 0.03, 32), put(rng.uniform(0, 0.1, HEADS * F), 64)
        self.omega = put(normal((HEADS, F, H_ // HEADS)) * 0.1, 32)
        for name, rows, columns in (
            ("q", H_, H_), ("k", H_, H_), ("v", H_, H_), ("o", H_, H_), ("ffn_in", H_, INNER), ("ffn_out", INNER, H_),
        ):  # fmt: skip
            w[name] = put(normal((rows, columns)) / math.sqrt(rows)), put(normal(columns) * 0.1)
        self.gamma, self.beta = put(1 + 0.1 * normal(H_)), put(0.1 * normal(H_))
        self.logits = put(normal((B, LABELS)) * 3)
        self.labels = put(np.eye(LABELS)[[1, 0, 4]])
        self.weights = put(np.full((B, 1), 1 / B))
        self.prototypes = normal((H_, LABELS))
        self.prototypes /= np.linalg.norm(self.prototypes, axis=0)
        put(self.prototypes)
        self.rows = put(normal((B, 2, H_)))
        self.select = put(self.mask / self.mask.sum(axis=1, keepdims=True))
        self.spread = 0.5 + normal((7, H_)) * np.array([0, 0.25, 0.5, 1, 4, 10, 13])[:, None]
        put(self.spread)
        put(np.ones(H_)), put(np.zeros(H_))  # the norm below the reading layer

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        weight, bias = self.w[name]
        return x @ weight + bias

    def split(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(B, T, HEADS, -1).transpose(0, 2, 1, 3)

    def attention(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        def phi(turns: np.ndarray) -> np.ndarray:
            return np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=-1)

        query, key = phi(query), phi(key) * self.mask[:, None, :, None]
        numerator = query @ (key.swapaxes(-1, -2) @ self.split(self.linear("v", self.x))) / (F * T)
        denominator = query @ key.sum(axis=2)[..., None] / (F * T)
        return (numerator / np.maximum(denominator, 0.02)).transpose(0, 2, 1, 3).reshape(B, T, H_)

    def folded(self) -> np.ndarray:
        return self.attention(*(self.split(self.linear(n, self.x)) for n in ("phase_query", "phase_key")))

    def paper(self) -> np.ndarray:
        q, k = (self.split(self.linear(n, self.x)) for n in ("q", "k"))
        return self.attention(
            *(u / np.linalg.norm(u, axis=-1, keepdims=True) @ self.omega.transpose(0, 2, 1) for u in (q, k))
        )

    def encoder(self) -> np.ndarray:
        y = normalised(self.x + self.linear("o", self.folded())) * self.gamma + self.beta
        inner = self.linear("ffn_in", y)
        return normalised(y + self.linear("ffn_out", inner / 2 * (1 + erf(inner / math.sqrt(2)))))

    def reference(self) -> dict[str, tuple[np.ndarray, float]]:
        right = (self.labels * self.logits).sum(axis=1, keepdims=True)
        hinge = (np.maximum(0, 2 + self.logits - right) * (1 - self.labels)).sum(axis=1)
        first = self.x[:, 0] / np.linalg.norm(self.x[:, 0], axis=1, keepdims=True)
        inserted = np.stack([np.concatenate([x[:1], new, x[1:]]) for x, new in zip(self.x, self.rows, strict=True)])
        largest = np.abs(self.linear("v", self.x)).max()
        return {
            "folded": (self.folded(), 1e-3 * largest),
            "paper": (self.paper(), 1e-3 * largest),
            "normalize": (normalised(self.x), 6e-4),
            "normalize, large eps": (normalised(self.x, 0.5), 6e-4),
            "normalize, rows of all sizes": (np.vstack([np.zeros(H_), normalised(self.spread[1:])]), 6e-4),
            "encoder": (self.encoder(), 1e-3),
            "encoder, first row only": (self.encoder()[:, 0], 1e-3),
            "cross_entropy": (np.log(np.exp(self.logits).sum(axis=1)) - right[:, 0], 3 * 5e-4),
            "hinge": (hinge, 4 / 2**16),
            "mean_examples": (hinge / B, 5e-4),
            "cosine": (20 * first @ self.prototypes, 20 * 3e-4),
            "select_row": ((self.select[:, None] @ self.x)[:, 0], 2e-4),
            "insert": (inserted, 2**-16),
            "insert_mask": (np.stack([np.concatenate([m[:1], [1, 1], m[1:]]) for m in self.mask]), 0),
        }


def normalised(x: np.ndarray, eps: float = 1e-12) -> np.ndarray:
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)


@pytest.fixture(scope="module", params=[1000, 200_000])
def tensors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TensorCase, np.ndarray]:
    """The same results at a small and a large budget: the order of memory accesses holds."""
    case = TensorCase()
    source = configure(budget=request.param) + TENSORS
    return case, run_kernels(tmp_path_factory.mktemp("tensors"), source, case.words)


@pytest.mark.parametrize("name", list(TensorCase().reference()))
def test_tensor_kernel(tensors: tuple[TensorCase, np.ndarray], name: str) -> None:
    case, got = tensors
    position = 0
    for other, (want, tolerance) in case.reference().items():
        if other == name:
            part = got[position : position + want.size].reshape(want.shape)
            np.testing.assert_allclose(part, want, atol=tolerance, rtol=0)
        position += want.size
    assert position == got.size
