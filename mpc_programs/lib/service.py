"""Talking to the two clients: weights once, then sets of examples and candidates until told to stop.

The first words on either side are the program's identity; a client hears READY once the weights are here. Each command
of the data owner is four words: its number, candidates, first tile, tiles. EXAMPLES is followed by every example input
of these tiles; LOSSES and LOGITS by the candidates. Tiles stay until others are written over them, so that several sets
can be held. With every tile that is done the data owner hears how many are; results go to it alone. TIMER counts what a
command costs, without the time between commands. All these numbers are in `wire`.
"""

from Compiler.library import (
    accept_client_connection,
    break_point,
    do_while,
    for_range,
    if_,
    listen_for_clients,
    public_input,
    runtime_error_if,
    start_timer,
    stop_timer,
)
from Compiler.types import cint, regint, sfix, sint

from lib.tensor import in_pieces, tensor
from lib.wire import CHUNK, DATA_OWNER, EXAMPLES, LOGITS, LOSSES, MODEL_OWNER, READY, STOP, TIMER


def accept(identity):
    """Wait for both clients; returns their ids (MODEL_OWNER, DATA_OWNER).

    The port is the program's public input: party i listens on that port + i. `identity`: 32-bit words of the
    program's identity, which is said to every client. One of another build says other words and ends the run.
    Rounds: 0. Opens: nothing.
    """
    port = regint(public_input())
    listen_for_clients(port)
    for _ in (MODEL_OWNER, DATA_OWNER):
        client = accept_client_connection(port)
        tell(client, *identity)
        for said, word in zip(cint.read_from_socket(client, len(identity)), identity, strict=True):
            runtime_error_if(said != word, "client %s was built for another program", client)
    return MODEL_OWNER, DATA_OWNER


def receive(client, container):
    """Fill an sfix or sint container with a client's private values, in pieces of CHUNK.

    Shapes: any. Scale: the client has scaled them.
    Rounds: 1 a piece. Opens: to the parties, each value plus a fresh uniform mask; to the client, its masks.
    """
    flat = container if len(container.shape) == 1 else container.to_array()

    def fill(base, count):
        values = sint.receive_from_client(1, regint(client), size=count)[0]
        flat.assign_vector(values if flat.value_type is sint else sfix._new(values), base)

    in_pieces(flat.total_size(), CHUNK, fill)


def tell(client, *words):
    """Public 64-bit words to one client, one message. Rounds: 0. Opens: nothing."""
    regint.write_to_socket(regint(client), [regint(word) for word in words])


def command(client):
    """The next command, its candidates, first tile and tiles: all public. Rounds: 0. Opens: nothing."""
    return [regint(word) for word in cint.read_from_socket(regint(client), 4)]


def reveal(client, container):
    """Open a whole container to one client, freshly re-randomised.

    Rounds: 1. Opens: the container's values, to this client only.
    """
    sfix.reveal_to_clients([client], [container.get_vector()])


def keep(x, place):
    """Store x where a later call finds it; local."""
    place.assign_vector(x.get_vector())
    break_point()


def run(*, identity, weights, examples, candidates, load, evaluate, pair_tiles, num_labels, popsize):
    """Serve until the data owner says STOP.

    `weights`: containers that the model owner fills once. `examples`: containers `[tiles, tile, *shape]`,
    `candidates`: `[popsize, 1, *shape]`, which the data owner fills. `load(tile)` runs when a tile has arrived,
    `evaluate(candidates, tiles)`, lists of `pair_tiles` numbers, returns the weighted loss of each tile under its
    candidate and the logits `[pair_tiles * tile, L]`. Opens: to the data owner, for LOSSES one number a candidate, for
    LOGITS those of the asked tiles under one candidate.
    """
    model_owner, data_owner = accept(identity)
    for container in weights:
        receive(model_owner, container)
    for owner in (model_owner, data_owner):
        tell(owner, READY)
    tiles, tile = examples[0].shape[:2]
    # one place more, for what nobody asked for
    losses = tensor((popsize + 1,))
    logits = tensor((tiles + 1, tile, num_labels))

    def read_examples(first, used):
        @for_range(first, first + used)
        def _(i):
            for container in examples:
                receive(data_owner, container[i])
            load(i)
            tell(data_owner, i - first + 1)

    def step(count, first, used):
        losses.assign_all(0)

        @for_range(count)
        def _(candidate):
            for container in candidates:
                receive(data_owner, container[candidate])

        total = count * used

        def pair(number):
            """Whether anybody asked for this pair, its candidate and its tile; those of the first one if not."""
            asked, candidate = number < total, number // used
            return asked, asked * candidate, first + asked * (number - candidate * used)

        @for_range((total + pair_tiles - 1) // pair_tiles)
        def _(batch):
            numbers = [batch * pair_tiles + i for i in range(pair_tiles)]
            asked, under, on = zip(*map(pair, numbers), strict=True)
            loss, outputs = evaluate(under, on)
            for i, number in enumerate(numbers):
                losses[asked[i].if_else(under[i], popsize)] += loss[i]
                keep(outputs.get_part(i * tile, tile), logits[asked[i].if_else(on[i], tiles)])

                @if_(asked[i])
                def _(done=number + 1):
                    tell(data_owner, done)

    @do_while
    def _():
        word, count, first, used = command(data_owner)
        most = (word == LOGITS).if_else(1, popsize)
        runtime_error_if(count > most, "%s candidates, the program takes %s", count, most)
        outside = (first < 0) + (first + used > tiles)
        runtime_error_if(outside, "%s tiles from %s, the program holds %s", used, first, tiles)
        start_timer(TIMER)

        @if_(word == EXAMPLES)
        def _():
            read_examples(first, used)

        @if_((word == LOSSES) + (word == LOGITS))
        def _():
            step(count, first, used)

        @if_(word == LOSSES)
        def _():
            reveal(data_owner, losses.get_part(0, popsize))

        @if_(word == LOGITS)
        def _():
            @for_range(first, first + used)
            def _(i):
                reveal(data_owner, logits[i])

        stop_timer(TIMER)
        return word != STOP
