"""How a party of the embedded VM runs where nobody says otherwise, alone or simulated."""

LANES = 2
"""Tiles of a step that it computes at the same time."""
TILE_WORDS = 9 << 19
"""Ring elements that the largest value of a step may have, in all lanes together: 38 MB per component. A generation of
the default run, eight candidates and a canary on sixteen examples, is one tile per lane."""
AHEAD_MB = 256
"""Megabytes of randomness that it keeps for the next step."""
IDLE_MB = 128
"""Megabytes that it keeps of memory not in use, for what needs as much next (`kMostIdle`, `vm/ring/memory.h`)."""
AMPLE_MB = 1024
"""Megabytes in all below which it keeps more (`kAmple` there)."""
