"""What programs and their clients must agree on. No import of MP-SPDZ's compiler: generator and runtime read it too."""

MODEL_OWNER, DATA_OWNER = 0, 1
"""Numbers of the two clients."""
READY = 1
"""What a client hears once the weights are here."""
STOP, EXAMPLES, LOSSES, LOGITS = range(4)
"""Commands of the data owner."""
CHUNK = 100_000
"""Values per message: larger ones have been seen to block both sides."""
TIMER = 1
"""Timer that counts what commands cost; the parties' logs name it."""

TURN_BITS = 64
"""Scale of a phase: one turn is 2^64, where rings wrap."""
PHASE_BITS = 32
"""Scale of weights that make phases; the biases of these products are phases."""
FIELD_BITS = 10
"""In a prime field a phase is below 2^10 turns."""
SECURITY_BITS = 40
"""MP-SPDZ's statistical security: how much longer a mask is than what it hides."""
PRIME_BITS = TURN_BITS + FIELD_BITS + 1 + SECURITY_BITS
"""What the largest number of a prime field needs, a masked phase."""
