"""A client's session with the three parties: the model owner's or the data owner's (docs/wire.md).

The payload of a message is made in `parties/sharing.py`, its frame in `parties/connection.py`.
"""

from __future__ import annotations

import random
import secrets
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Literal

from ...codegen.ring.program import WORD
from ..closing import Closing
from ..engine import Cost, Progress
from ..errors import ServiceError
from ..parties.certificates import client_context
from ..parties.connection import COST_BYTES, HELLO_BYTES, SILENCE_SECONDS, Connection, Frame
from ..parties.deployment import Deployment
from ..parties.packing import packed_bytes
from ..parties.sharing import Elements, Payload, Words, reconstruct, share

Role = Literal["model-owner", "data-owner"]

GRACE = 2.0
"""Seconds that the other parties get to say what went wrong, once one has failed."""
RANK = {"refused": 0, "lost": 1, "busy": 2, "consequence": 3}


class Client(Closing):
    """One session. Every method raises ServiceError, which names the party, and the session is over then.

    `patience`: seconds to try again while the parties serve another client. `progress(done, total)` is called from
    another thread, every second while the parties compute.
    """

    def __init__(
        self,
        deployment: Deployment,
        role: Role,
        program_hash: bytes,
        *,
        patience: float = 10.0,
        progress: Progress | None = None,
    ) -> None:
        self.progress = progress
        self.cost = Cost()
        self.sent = [0] * len(deployment.parties)
        """Bytes that every party has sent to the others."""
        pins = deployment.pins
        context = client_context(deployment.certificates, role)
        deadline = time.monotonic() + patience
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="secfwt-client")
        while True:
            self._connections: list[Connection] = []
            session = secrets.randbits(64)
            try:
                self._connections = [
                    Connection(i, party, context, deployment.stall_timeout or SILENCE_SECONDS, pins.get(f"party{i}"))
                    for i, party in enumerate(deployment.parties)
                ]
                self._each([c.connect for c in self._connections])
                answers = self._ask(Frame.HELLO, session, [[program_hash]] * 3, Frame.HELLO)
                break
            except ServiceError as error:
                if error.failure != "busy" or time.monotonic() >= deadline:
                    self._pool.shutdown()
                    raise
                time.sleep(random.uniform(0.1, 0.4))
            except BaseException:
                self.close()
                raise
        said: list[int] = [struct.unpack_from("<Q", answer)[0] for answer in answers]
        self.weights_loaded = all(each & 1 for each in said)
        self.weights = said[0] >> 1
        """What tells these weights from others (`weights.identity`)."""
        counts = [tuple(struct.unpack(f"<{len(answer) // 8 - 2}Q", answer[HELLO_BYTES:])) for answer in answers]
        if len(set(counts)) > 1:
            self.close()
            raise ServiceError(0, "refused", f"the parties do not agree on what they have opened: {counts}")
        self.opened = counts[0]
        """Of every output with a limit, in program order: instances that the parties have opened, in all sessions; the
        data owner is told."""

    def send_weights(self, inputs: Iterable[Elements], identity: int = 0) -> None:
        """All `weight` inputs in program order; the parties tell later clients this `identity`, below 2^63."""
        self._done(self._ask(Frame.WEIGHTS, identity, share(inputs), Frame.DONE))

    def send_examples(self, set_id: int, count: int, inputs: Iterable[Elements]) -> None:
        """All `example` inputs in program order, each `[count, *shape]`."""
        self._done(self._ask(Frame.EXAMPLES, set_id, _prefixed(share(inputs), count), Frame.DONE))

    def step(
        self, set_id: int, count: int, output: int, size: int, inputs: Iterable[Elements], ring: int = WORD, at: int = 0
    ) -> Words:
        """All `candidate` inputs, each `[count, *shape]` -> the output's `size` elements, signed numbers of its ring.
        `at`: the row that windows and appended rows begin with."""
        expected = COST_BYTES + packed_bytes(size, ring)
        answers = self._ask(Frame.STEP, set_id, _prefixed(share(inputs), count, output, at), Frame.RESULT, expected)
        for party, answer in enumerate(answers):
            if len(answer) != expected:
                self.close()
                raise ServiceError(party, "refused", f"sent a RESULT of {len(answer)} bytes, expected {expected}")
        self._done([answer[:COST_BYTES] for answer in answers], steps=1)
        return reconstruct([answer[COST_BYTES:] for answer in answers], size, ring)

    def stop(self) -> None:
        """Stop the parties."""
        self._ask(Frame.STOP, 0, ([], [], []), Frame.DONE)
        self.close()

    def abort(self) -> None:
        """Make a method that another thread waits in fail at once."""
        for connection in self._connections:
            connection.abort()

    def close(self) -> None:
        """End the session; the parties wait for the next."""
        for connection in self._connections:
            connection.close()
        self._pool.shutdown()

    def _ask(
        self, kind: Frame, argument: int, payloads: Sequence[Payload], answer: Frame, longest: int = 0
    ) -> list[memoryview]:
        def exchange(connection: Connection, payload: Payload) -> Callable[[], memoryview]:
            progress = self.progress if connection.party == 0 else None
            return lambda: connection.exchange(kind, argument, payload, answer, progress, longest)

        return self._each([exchange(c, p) for c, p in zip(self._connections, payloads, strict=True)])

    def _each(self, calls: Sequence[Callable[[], memoryview]]) -> list[memoryview]:
        """Run one call a party at the same time; raise the error closest to the cause if any fails."""
        futures: list[Future[memoryview]] = [self._pool.submit(call) for call in calls]
        try:
            _, pending = wait(futures, return_when=FIRST_EXCEPTION)
            if pending:
                wait(pending, timeout=GRACE)
        except BaseException:  # an interrupt: the threads wait for answers that do not matter any more
            self._abort(futures)
            raise
        aborted = {i for i, future in enumerate(futures) if not future.done()}
        if aborted:
            self._abort(futures)
        failures: list[Exception] = []
        for i, future in enumerate(futures):
            error = future.exception()
            if error is None or i in aborted:
                continue
            if not isinstance(error, ServiceError):
                self._abort(futures)
                raise error
            failures.append(error)
        if failures:
            self._abort(futures)
            raise min(failures, key=lambda e: RANK[e.failure] if isinstance(e, ServiceError) else 0)
        return [future.result() for future in futures]

    def _abort(self, futures: Sequence[Future[memoryview]]) -> None:
        for connection in self._connections:
            connection.abort()
        wait(futures)
        for connection in self._connections:
            connection.close()

    def _done(self, answers: Sequence[memoryview], steps: int = 0) -> None:
        costs = [struct.unpack("<QQQQ", answer) for answer in answers]
        self.cost.seconds += max(cost[0] for cost in costs) * 1e-9
        self.cost.bytes_sent += sum(cost[1] for cost in costs)
        self.sent = [total + cost[1] for total, cost in zip(self.sent, costs, strict=True)]
        self.cost.rounds += max(cost[2] for cost in costs)
        self.cost.peak_bytes = max(self.cost.peak_bytes, *(cost[3] for cost in costs))
        self.cost.steps += steps


def _prefixed(payloads: Sequence[Payload], *numbers: int) -> list[Payload]:
    prefix = struct.pack(f"<{len(numbers)}Q", *numbers)
    return [[prefix, *payload] for payload in payloads]
