"""Talking to the two clients: weights once, examples once, then candidates until told to stop.

Message order on the data owner's socket, all words of the ring: a command; EXAMPLES is followed by every example
input tile by tile; LOSSES and LOGITS by the number of candidates and the candidates. Results go to the data owner
alone.
"""

from Compiler.library import (
    accept_client_connection,
    break_point,
    do_while,
    for_range,
    if_,
    listen_for_clients,
    runtime_error_if,
)
from Compiler.types import MemValue, cint, regint, sfix, sint

from lib.tensor import tensor

STOP, EXAMPLES, LOSSES, LOGITS = range(4)
CHUNK = 100_000
"""Values a message: larger ones have been seen to block both sides."""


def accept(port, identity):
    """Wait for both clients; returns their ids (model owner 0, data owner 1).

    `identity`: 32-bit words of the program's identity. A client of another build sends other words and ends the run.
    Rounds: 0. Opens: nothing.
    """
    listen_for_clients(port)
    model_owner, data_owner = 0, 1
    for _ in range(2):
        client = accept_client_connection(port)
        for word in identity:
            said = cint.read_from_socket(client)
            runtime_error_if(said != word, "client %s was built for another program", client)
    return model_owner, data_owner


def receive(client, container):
    """Fill an sfix or sint container with a client's private values, in pieces of CHUNK.

    Shapes: any. Scale: the client has scaled them.
    Rounds: 1 a piece. Opens: to the parties, each value plus a fresh uniform mask; to the client, its masks.
    """
    flat = container if len(container.shape) == 1 else container.to_array()
    size = flat.total_size()
    pieces, rest = divmod(size, CHUNK)

    def fill(base, count):
        values = sint.receive_from_client(1, regint(client), size=count)[0]
        flat.assign_vector(values if flat.value_type is sint else sfix._new(values), base)

    @for_range(pieces)
    def _(i):
        fill(i * CHUNK, CHUNK)

    if rest:
        fill(pieces * CHUNK, rest)


def command(client):
    """The next command and its count (0 where it has none): both public. Rounds: 0. Opens: nothing."""
    word, count = (regint(cint.read_from_socket(regint(client))) for _ in range(2))
    return word, count


def reveal(client, container):
    """Open a whole container to one client, freshly re-randomised.

    Rounds: 1. Opens: the container's values, to this client only.
    """
    sfix.reveal_to_clients([client], [container.get_vector()])


def keep(x, place):
    """Store x where a later call finds it; local."""
    place.assign_vector(x.get_vector())
    break_point()


def run(*, port, identity, weights, examples, candidates, load, evaluate, num_labels, popsize, max_candidates):
    """Serve until the data owner says STOP.

    `weights`: containers that the model owner fills once. `examples`: containers `[tiles, tile, *shape]`,
    `candidates`: `[popsize, *shape]`, which the data owner fills. `load(tile)` runs when a tile has arrived,
    `evaluate(candidate, tile)` returns the tile's weighted loss and its logits `[tile, L]`. Opens: to the data
    owner, for LOSSES one number a candidate, for LOGITS those of up to `max_candidates`.
    """
    model_owner, data_owner = accept(port, identity)
    for container in weights:
        receive(model_owner, container)
    tiles, tile = examples[0].shape[:2]
    losses = tensor((popsize,))
    logits = tensor((max_candidates, tiles, tile, num_labels))
    used = MemValue(regint(0))

    def read_examples(count):
        runtime_error_if(count > tiles, "%s tiles of examples, the program holds %s", count, tiles)
        used.write(count)

        @for_range(count)
        def _(i):
            for container in examples:
                receive(data_owner, container[i])
            load(i)

    def step(count, open_logits):
        runtime_error_if(count > popsize, "%s candidates, the program holds %s", count, popsize)
        runtime_error_if(open_logits * (count > max_candidates), "logits of %s candidates", count)
        losses.assign_all(0)

        @for_range(count)
        def _(candidate):
            for container in candidates:
                receive(data_owner, container[candidate])

        @for_range(count)
        def _(candidate):
            @for_range(used)
            def _(i):
                loss, outputs = evaluate(candidate, i)
                losses[candidate] += loss
                keep(outputs, logits[candidate if max_candidates == popsize else 0][i])

    @do_while
    def _():
        word, count = command(data_owner)

        @if_(word == EXAMPLES)
        def _():
            read_examples(count)

        @if_((word == LOSSES) + (word == LOGITS))
        def _():
            step(count, word == LOGITS)

        @if_(word == LOSSES)
        def _():
            reveal(data_owner, losses)

        @if_(word == LOGITS)
        def _():
            reveal(data_owner, logits)

        return word != STOP
