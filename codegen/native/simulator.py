"""Three parties in one process: the embedded VM's engine without a network, for tests and cost calibration.

Inputs arrive in the clear and are secret-shared inside, so nothing is protected here; protocols, messages, bytes and
rounds are those of a real run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_uint8, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from itertools import count

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .binaries import SIMULATOR, load
from .defaults import LANES, TILE_WORDS

Words = NDArray[np.uint64]
_ERROR_SIZE = 1024


class SimulatorError(ValueError):
    """What the parties refused, in their words."""


@dataclass(frozen=True)
class Counters:
    """Bytes each party has sent and communication rounds so far."""

    bytes_sent: tuple[int, int, int]
    rounds: int

    @property
    def total(self) -> int:
        """Bytes over all parties."""
        return sum(self.bytes_sent)

    def __sub__(self, earlier: Counters) -> Counters:
        a, b = self.bytes_sent, earlier.bytes_sent
        return Counters((a[0] - b[0], a[1] - b[1], a[2] - b[2]), self.rounds - earlier.rounds)


@dataclass(frozen=True)
class Dealt:
    """Bytes of tuples over all parties: those that lie ahead now, and those that steps have waited for so far."""

    ahead: int
    late: int


@cache
def _library() -> ctypes.CDLL:
    library = load(SIMULATOR)
    words, error = POINTER(c_uint64), (c_char_p, c_size_t)
    signatures: dict[str, tuple[object, tuple[object, ...]]] = {
        "secfwt_create": (
            c_void_p,
            (c_char_p, c_size_t, c_size_t, c_uint64, c_int, c_double, c_double, c_char_p, c_size_t, *error),
        ),
        "secfwt_free": (None, (c_void_p,)),
        "secfwt_weights": (c_int, (c_void_p, words, c_size_t, *error)),
        "secfwt_examples": (c_int, (c_void_p, c_uint64, c_size_t, words, c_size_t, *error)),
        "secfwt_step": (
            c_int,
            (c_void_p, c_uint64, c_size_t, c_size_t, c_size_t, words, c_size_t, words, c_size_t, *error),
        ),
        "secfwt_result_words": (c_size_t, (c_void_p, c_uint64, c_size_t, c_size_t)),
        "secfwt_counters": (None, (c_void_p, words, words)),
        "secfwt_kept": (None, (c_void_p, words)),
        "secfwt_deal": (c_int, (c_void_p, *error)),
        "secfwt_dealt": (None, (c_void_p, words)),
        "secfwt_record": (None, (c_void_p, c_int)),
        "secfwt_received": (c_size_t, (c_void_p, c_int, c_int, POINTER(c_uint8))),
        "secfwt_gemm": (None, (words, words, words, c_size_t, c_size_t, c_size_t)),
        "secfwt_kernel": (c_char_p, (c_int,)),
        "secfwt_kernel_rates": (c_char_p, (c_size_t, POINTER(c_double), POINTER(c_int))),
        "secfwt_packing_rates": (None, (c_int, POINTER(c_double))),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _words(array: ArrayLike) -> Words:
    """Flat, contiguous ring elements; signed integers wrap."""
    values = np.asarray(array)
    if values.dtype.kind not in "iu":
        raise TypeError(f"ring elements must be integers, not {values.dtype}")
    return np.ascontiguousarray(values.astype(np.uint64, copy=False)).reshape(-1)


def _pointer(array: Words) -> ctypes._Pointer[c_uint64]:
    return array.ctypes.data_as(POINTER(c_uint64))


def ring_matmul(a: Words, b: Words) -> Words:
    """The VM's matrix product mod 2^64: `[m, k] @ [k, n]`."""
    (m, k), (inner, n) = a.shape, b.shape
    if inner != k:
        raise ValueError(f"inner dimensions {k} and {inner} differ")
    out = np.empty((m, n), np.uint64)
    _library().secfwt_gemm(_pointer(_words(a)), _pointer(_words(b)), _pointer(out), m, k, n)
    return out


def chosen_kernel(bits: int) -> str:
    """Name of the kernel that large matrix products run on in a ring of so many bits."""
    name: bytes = _library().secfwt_kernel(bits)
    return name.decode()


@dataclass(frozen=True)
class KernelRate:
    """A kernel of matrix products: 10^9 multiply-accumulates per second of one core."""

    name: str
    bits: int
    """Of the widest ring that it is exact in."""
    rate: float
    """Of blocks that are packed and in the cache."""
    peak: float
    """Of its multiplications alone."""


def kernel_rates() -> Iterator[KernelRate]:
    """Each kernel of matrix products that this processor has, measured on one core for some 20 ms."""
    rates, bits = (c_double * 2)(), c_int()
    for i in count():
        name: bytes | None = _library().secfwt_kernel_rates(i, rates, bits)
        if name is None:
            return
        yield KernelRate(name.decode(), bits.value, *rates)


@dataclass(frozen=True)
class PackingRate:
    """10^9 bytes of 64-bit words per second of one core, of arrays larger than caches."""

    pack: float
    unpack: float
    copy: float
    """By memcpy."""


def packing_rate(bits: int) -> PackingRate:
    """How fast words are packed to so many bits for a message, measured for some 50 ms."""
    rates = (c_double * 3)()
    _library().secfwt_packing_rates(bits, rates)
    return PackingRate(*rates)


class Simulator:
    """A ring program (docs/program.md) run by three in-process parties.

    Methods raise `SimulatorError` with the parties' message. `tile_words` is the engine's memory limit: pairs of
    candidates and examples beyond it are computed tile by tile, in `lanes` at the same time. `ahead` bytes of
    randomness may be dealt before a step needs them: by threads in the `background`, else at the end of a step, as much
    as threads that are never late deal during it, and by `deal()`. `network` puts a latency (seconds, one way) and a
    bandwidth (bytes a second each way, 0: any) between the parties. `constants`: the program's public weights, as their
    file has them.
    """

    def __init__(
        self, program_text: str, tile_words: int = TILE_WORDS, *, lanes: int = LANES, ahead: int = 0,
        background: bool = True, network: tuple[float, float] = (0, 0), constants: bytes = b"",
    ) -> None:  # fmt: skip
        self._handle: int | None = None
        self._library = _library()
        error = ctypes.create_string_buffer(_ERROR_SIZE)
        self._handle = self._library.secfwt_create(
            program_text.encode(),
            tile_words,
            lanes,
            ahead,
            background,
            *network,
            constants,
            len(constants),
            error,
            _ERROR_SIZE,
        )
        if not self._handle:
            raise SimulatorError(error.value.decode())
        self._has_weights = False

    def __del__(self) -> None:
        if self._handle:
            self._library.secfwt_free(self._handle)
            self._handle = None

    def _call(self, name: str, *arguments: object) -> None:
        error = ctypes.create_string_buffer(_ERROR_SIZE)
        if getattr(self._library, name)(self._handle, *arguments, error, _ERROR_SIZE) != 0:
            raise SimulatorError(error.value.decode())

    def weights(self, values: ArrayLike) -> None:
        """All `weight` inputs, flat and in program order; runs the setup stage and forgets all examples."""
        words = _words(values)
        self._call("secfwt_weights", _pointer(words), words.size)
        self._has_weights = True

    def examples(self, count: int, values: ArrayLike, set_id: int = 0) -> None:
        """All `example` inputs in program order, each `[count, *shape]`; runs the example stage."""
        self._need_setup()
        words = _words(values)
        self._call("secfwt_examples", set_id, count, _pointer(words), words.size)

    def step(self, candidates: int, values: ArrayLike, output: int = 0, set_id: int = 0, at: int = 0) -> Words:
        """Evaluate one output (by its place in the program) for all `candidate` inputs, each `[candidates, *shape]`;
        `at`: the row that windows and appended rows begin with; of an output that is kept, 1 adds to what is.

        Returns the ring elements in a row: `[candidates, *shape]`, for a pair value `[candidates, examples, *shape]`,
        for an example's, which takes no candidates, `[examples, *shape]`.
        """
        self._need_setup()
        inputs = _words(values)
        result = np.empty(self._library.secfwt_result_words(self._handle, set_id, candidates, output), np.uint64)
        self._call(
            "secfwt_step", set_id, candidates, output, at, _pointer(inputs), inputs.size, _pointer(result), result.size
        )  # fmt: skip
        return result

    def counters(self) -> Counters:
        """Traffic so far."""
        sent, rounds = (c_uint64 * 3)(), c_uint64()
        self._library.secfwt_counters(self._handle, sent, byref(rounds))
        return Counters((sent[0], sent[1], sent[2]), rounds.value)

    def kept(self) -> tuple[int, int, int]:
        """Bytes that each party keeps of the weights and what the setup stage makes of them."""
        kept = (c_uint64 * 3)()
        self._library.secfwt_kept(self._handle, kept)
        return kept[0], kept[1], kept[2]

    def deal(self) -> None:
        """Deal all that the next step should find ahead; where no threads do."""
        self._call("secfwt_deal")

    def dealt(self) -> Dealt:
        """What has become of the tuples that were dealt."""
        totals = (c_uint64 * 2)()
        self._library.secfwt_dealt(self._handle, totals)
        return Dealt(totals[0], totals[1])

    def record(self, on: bool = True) -> None:
        """Start a new record of what parties receive, or end recording."""
        self._library.secfwt_record(self._handle, int(on))

    def received(self, party: int, *, from_next: bool) -> bytes:
        """What `party` received since `record()` from the party after it (or before it)."""
        size = self._library.secfwt_received(self._handle, party, int(from_next), None)
        out = (c_uint8 * max(size, 1))()
        self._library.secfwt_received(self._handle, party, int(from_next), out)
        return bytes(out)[:size]

    def _need_setup(self) -> None:
        if not self._has_weights:  # a program without weights
            self.weights(np.empty(0, np.uint64))
