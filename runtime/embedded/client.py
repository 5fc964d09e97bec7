"""A client's session with the three parties: an owner's, or the coordinator's of several (docs/wire.md).

The payload of a message is made in `parties/sharing.py`, its frame in `parties/connection.py`.
"""

from __future__ import annotations

import random
import secrets
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple, TypeVar

from ...codegen.ring.program import WORD
from ..closing import Closing
from ..engine import Cost, Progress
from ..errors import ServiceError
from ..parties.certificates import client_context
from ..parties.connection import COST_BYTES, HELLO_BYTES, OWNER_BYTES, SILENCE_SECONDS, Connection, Frame
from ..parties.deployment import Deployment
from ..parties.packing import packed_bytes
from ..parties.sharing import Elements, Payload, Words, reconstruct, share

T = TypeVar("T")
GRACE = 2.0
"""Seconds that the other parties get to say what went wrong, once one has failed."""
RANK = {"refused": 0, "lost": 1, "busy": 2, "consequence": 3}


class Heard(NamedTuple):
    """A frame that all parties have sent of themselves; of `TELL` each has sent a share."""

    kind: Frame
    argument: int
    payloads: list[memoryview]


class Client(Closing):
    """One session, under a client's name in the deployment (`role`). Every method raises ServiceError, which names the
    party, and the session is over then.

    `patience`: seconds to try again while the parties serve another client. `progress(done, total)` is called from
    another thread, every second while the parties compute.
    """

    def __init__(
        self,
        deployment: Deployment,
        role: str,
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
                answers = self._ask(Frame.HELLO, session, [[deployment.known(program_hash)]] * 3, Frame.HELLO)
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
        several = deployment.data_owners
        told = OWNER_BYTES * (len(several) if several and role == deployment.coordinator else role in several)
        self.owners = _owners([answer[len(answer) - told :] for answer in answers])
        """What the coordinator of several data owners is told of each, and each of itself: how many examples it has
        shared for training and for dev with every party, if it is there; 0 if not."""
        answers = [answer[HELLO_BYTES : len(answer) - told] for answer in answers]
        counts = [tuple(struct.unpack(f"<{len(answer) // 8}Q", answer)) for answer in answers]
        if len(set(counts)) > 1:
            self.close()
            raise ServiceError(0, "refused", f"the parties do not agree on what they have opened: {counts}")
        self.opened = counts[0]
        """Of every output with a limit, in program order: instances that the parties have opened, in all sessions;
        whoever may ask is told."""

    def send_weights(self, inputs: Iterable[Elements], identity: int = 0) -> None:
        """All `weight` inputs in program order; the parties tell later clients this `identity`, below 2^63."""
        self._done(self._ask(Frame.WEIGHTS, identity, share(inputs), Frame.DONE))

    def send_examples(self, set_id: int, count: int, inputs: Iterable[Elements]) -> None:
        """All `example` inputs in program order, each `[count, *shape]`."""
        self._done(self._ask(Frame.EXAMPLES, set_id, _prefixed(share(inputs), count), Frame.DONE))

    def step(
        self, set_id: int, count: int, output: int, size: int, inputs: Iterable[Elements], ring: int = WORD,
        at: int = 0, owners: int = 0,
    ) -> Words:  # fmt: skip
        """All `candidate` inputs, each `[count, *shape]` -> the output's `size` elements, signed numbers of its ring.
        `at`: the row that windows and appended rows begin with; of an output that is kept, 1 adds to what is. `owners`:
        bit by bit, whose sets of that number stand side by side; 0: the client's own set."""
        expected = COST_BYTES + packed_bytes(size, ring)
        payloads = _prefixed(share(inputs), count, output, at, owners)
        answers = self._ask(Frame.STEP, set_id, payloads, Frame.RESULT, expected)
        for party, answer in enumerate(answers):
            if len(answer) != expected:
                self.close()
                raise ServiceError(party, "refused", f"sent a RESULT of {len(answer)} bytes, expected {expected}")
        self._done([answer[:COST_BYTES] for answer in answers], steps=1)
        return reconstruct([answer[COST_BYTES:] for answer in answers], size, ring)

    def join(self) -> None:
        """One of several data owners, who has sent its examples: stay, and `listen`; the parties serve others now."""
        self._done(self._ask(Frame.JOIN, 0, ([], [], []), Frame.DONE))

    def listen(self, longest: int) -> Heard:
        """What the parties say to an owner that has joined, however long that takes: a NOTICE of a step that begins, or
        shares of what the coordinator has to TELL, of so many bytes at most. All three must say the same."""
        calls = [partial(connection.receive, longest) for connection in self._connections]
        heads, payloads = [], []
        for kind, argument, payload in self._each(calls):
            heads.append((kind, argument))
            payloads.append(payload)
        same = len(set(heads)) == 1 and (heads[0][0] == Frame.TELL or len(set(map(bytes, payloads))) == 1)
        if not same or heads[0][0] not in (Frame.NOTICE, Frame.TELL):
            self.close()
            raise ServiceError(0, "refused", "the parties do not tell this owner the same of what they do")
        return Heard(*heads[0], payloads)

    def tell(self, owners: int, inputs: Iterable[Elements]) -> None:
        """The coordinator's last word to owners of a sum that was opened: one candidate, which each of them gets in the
        clear and the parties as shares."""
        self._done(self._ask(Frame.TELL, owners, share(inputs), Frame.DONE))

    def stop(self) -> None:
        """Stop the parties."""
        self._ask(Frame.STOP, 0, ([], [], []), Frame.DONE)
        self.close()

    def abort(self) -> None:
        """Make whatever waits for the parties, in another thread, fail at once; `close` comes after it."""
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

    def _each(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Run one call a party at the same time; raise the error closest to the cause if any fails."""
        futures: list[Future[T]] = [self._pool.submit(call) for call in calls]
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

    def _abort(self, futures: Sequence[Future[T]]) -> None:
        self.abort()
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


def _owners(answers: Sequence[memoryview]) -> tuple[tuple[int, int], ...]:
    """By owner, the fewest examples that any party has of each of its sets: one that joins is at some before others."""
    words = [struct.unpack(f"<{len(answer) // 8}Q", answer) for answer in answers]
    least = [min(of_party) for of_party in zip(*words, strict=True)]
    return tuple(zip(least[::2], least[1::2], strict=True))


def _prefixed(payloads: Sequence[Payload], *numbers: int) -> list[Payload]:
    prefix = struct.pack(f"<{len(numbers)}Q", *numbers)
    return [[prefix, *payload] for payload in payloads]
