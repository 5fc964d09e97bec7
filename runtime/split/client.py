"""The data owner's connection to the server of a private adapter (`channel.py` has the messages)."""

from __future__ import annotations

import resource
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ..closing import Closing
from ..engine import Cost
from ..errors import AdapterServerError
from ..parties.certificates import client_context, host_name
from ..parties.connection import CONNECT_SECONDS, SILENCE_SECONDS, prepare
from ..parties.deployment import PartyAddress
from .ahead import Ahead
from .channel import VERSION, Channel, Kind
from .encryption.bfv import Scheme
from .encryption.fixed import LEAST_FRACTION, MOST_FRACTION, Floats, Shape
from .online import Online
from .options import Encryption

SERVER = "party0"
"""The name in the server's certificate."""
CALLS_BYTES = 1 << 20
MOST_SCALE = 256
"""Bits behind a number's point, or before it: a float32's, and more."""
BASIS_BYTES = 4
"""Of a number of a basis: float32."""
SHAPES = TypeAdapter(list[Shape])


class AdapterClient(Closing):
    """Connected for as long as it is open."""

    def __init__(
        self, address: PartyAddress, certificates: Path, base: str, matrices: Mapping[str, tuple[int, ...]],
        preparing: Callable[[int, int], None], encryption: Encryption = "ahead",
    ) -> None:  # fmt: skip
        """`base`: SHA-256 of the base that is run here, in hexadecimal digits; `matrices`: shapes `[out, in]` of its
        modules, which what the server describes must be of. Raises AdapterServerError."""
        self._channel = _connect(address, client_context(certificates, "data-owner"))
        try:
            self._channel.send(Kind.HELLO, VERSION, base.encode())
            _, self.most_rows, data = self._channel.receive(Kind.CALLS, CALLS_BYTES)
            scheme = Scheme()
            self.shapes = _shapes(bytes(data), matrices, scheme.modulus)
            self._bases = [self._read_bases(call, shape) for call, shape in enumerate(self.shapes)]
            self._way = (
                Online(self._channel, scheme, self.shapes) if encryption == "online"
                else Ahead(self._channel, scheme, self.shapes, preparing)
            )  # fmt: skip
        except BaseException:
            self._channel.close()
            raise
        self._seconds = 0.0
        self.asked = self.questions = 0
        """Rows, and calls to `ask`."""

    @property
    def bytes(self) -> int:
        """In both directions."""
        return self._channel.bytes

    @property
    def prepared_bytes(self) -> int:
        """Of those, what was sent ahead of questions."""
        return self._way.prepared_bytes

    def cost(self) -> Cost:
        """Seconds spent on answers, bytes in both directions, and a round for every question."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Cost(self._seconds, self.bytes, self.questions, peak)

    def ask(self, call: int, rows: Floats) -> Floats:
        """M·x of a call for rows `[n, inputs]`: `[n, told]`.

        Raises InputError for rows out of reach, AdapterServerError where the server refuses or is gone.
        """
        began = time.monotonic()
        told = self._way.ask(call, rows)
        self._seconds += time.monotonic() - began
        self.asked += len(rows)
        self.questions += 1
        return told

    def added(self, call: int, module: int, told: Floats) -> Floats:
        """What a module of a call adds to its output, `[n, width]`, of M·x `[n, told]`."""
        return told[:, self.shapes[call].part(module)] @ self._bases[call][module]

    def _read_bases(self, call: int, shape: Shape) -> list[Floats]:
        """Of each module, transposed: `[rank, width]`."""
        sizes = [width * rank for width, rank in zip(shape.widths, shape.ranks, strict=True)]
        data = self._channel.answer(Kind.BASES, call, BASIS_BYTES * sum(sizes))
        numbers = np.frombuffer(data, "<f4").astype(np.float64)
        if not np.isfinite(numbers).all():
            raise AdapterServerError(f"{self._channel.peer} sent bases that are not numbers")
        parts = zip(np.split(numbers, np.cumsum(sizes)[:-1]), shape.widths, strict=True)
        return [np.ascontiguousarray(part.reshape(width, -1).T) for part, width in parts]

    def close(self) -> None:
        """End the connection; masks and keys are forgotten with this object."""
        self._channel.close()


def _connect(address: PartyAddress, context: ssl.SSLContext) -> Channel:
    peer = f"the adapter's server at {address.address}"
    try:
        raw = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
    except OSError as error:
        raise AdapterServerError(f"cannot connect to {peer}: {error.strerror or error}") from error
    try:
        prepare(raw, SILENCE_SECONDS)
        tls = context.wrap_socket(raw, server_hostname=host_name(SERVER), suppress_ragged_eofs=False)
    except OSError as error:
        raw.close()
        raise AdapterServerError(f"{peer} does not prove to be it: {error}") from error
    return Channel(tls, peer, SILENCE_SECONDS)


def _shapes(data: bytes, matrices: Mapping[str, tuple[int, ...]], modulus: int) -> list[Shape]:
    try:
        shapes = SHAPES.validate_json(data, strict=False)
    except ValidationError as error:
        raise AdapterServerError(f"the adapter's server described no calls: {error.errors()[0]['msg']}") from error
    for shape in shapes:
        # a wrong length would put one mask on several numbers
        each = len(shape.scales) == len(shape.ranks) == len(shape.widths) == len(shape.modules) > 0
        right = each and all(
            matrices.get(module) == (width, shape.inputs) and 1 <= rank <= min(width, shape.inputs)
            for module, width, rank in zip(shape.modules, shape.widths, shape.ranks, strict=True)
        )
        # what does not fit between the moduli's ends would not be uniform under its mask
        units = LEAST_FRACTION <= shape.fraction <= MOST_FRACTION and 1 <= shape.reach < modulus / 2**shape.fraction / 2
        if not (right and units and all(abs(scale) <= MOST_SCALE for scale in shape.scales)):
            raise AdapterServerError(
                f"the adapter's server described modules otherwise than the base has them: {shape}"
            )
    modules = [module for shape in shapes for module in shape.modules]
    if len(set(modules)) != len(modules):
        raise AdapterServerError("the adapter's server described a module twice")
    return shapes
