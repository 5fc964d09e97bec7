"""How a party of the embedded VM runs where nobody says otherwise, alone or simulated."""

LANES = 2
"""Tiles of a step that it computes at the same time."""
TILE_WORDS = 1 << 22
"""Ring elements that the largest value of a step may have, in all lanes together: 32 MB per component."""
