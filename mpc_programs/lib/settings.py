"""Everything that makes one source the same numerical program under every protocol."""

from Compiler.program import Tape
from Compiler.types import cfix, program, sfix

RING_BITS = 64


def configure(
    *, fraction_bits, value_bits, trunc_pr, split, edabit, round_nearest, active, masked_openings, dealer, budget
):
    """Fix precision and protocol options; the first call of every program.

    `fraction_bits`, `value_bits`: sfix (f, k), |x| < 2^(k-f-1). `trunc_pr`: the protocol truncates in one
    instruction. `split`: number of shares that are split into bits locally for comparisons, 0 for none. `edabit`:
    compare with edaBits. `round_nearest`: exact rounding (slower) in place of probabilistic truncation. `active`:
    clients get and check triples. `masked_openings`: evaluate periodic functions by them (`masked_opening`) in place
    of comparisons and series. `dealer`: the number of the party that deals, the last one; None without. `budget`: how
    long a vector MP-SPDZ's comparisons and square roots treat at once.
    Raises `ValueError` when (f, k) does not leave room for a product in the ring.
    """
    if program.options.ring and value_bits + fraction_bits >= RING_BITS:
        raise ValueError(f"k + f is {value_bits + fraction_bits}, it must be below {RING_BITS}")
    sfix.set_precision(fraction_bits, value_bits)
    cfix.set_precision(fraction_bits, value_bits)
    sfix.round_nearest = round_nearest
    program.use_trunc_pr = trunc_pr
    if split:
        program.use_split(split)
    program.use_edabit(edabit)
    program.active = active
    program.masked_openings = masked_openings
    program.dealer = dealer
    program.budget = budget
    # What a loop takes counts once where the compiler cannot know how often it runs: unknown counts would have the
    # virtual machine make a full batch of everything, and take matrix products apart into scalar triples.
    Tape.ReqNum.set_all = lambda counts, _: counts
    # Kernels end a basic block after every store, so no order of memory accesses is left for the compiler to lose.
    program.disable_memory_warnings()
