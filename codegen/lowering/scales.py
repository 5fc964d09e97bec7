"""Scales, that is fraction bits, of what lowering makes."""

from __future__ import annotations

from ..ring.program import PHASE

ROW = 16
"""Hidden rows and everything row-like."""
TURN = PHASE - ROW
"""Weights that make phases out of rows: one turn is the whole ring."""
WEIGHT = 24
"""Weights of products that are truncated to `ROW` at once."""
SUMS = (48, 46, 44, 42, 40, 38)
"""To choose from for the rows before a layer norm, the largest values of a layer: the largest scale that fits is taken.

At 38 the matrix that multiplies the activation's even part, itself of 26 to 28 fraction bits, keeps 10 to 12 of its
own. Measured on the tests' toys: logits err by 1 to 3 thousandths of their spread from 48 to 38, by 9 at 36, by 120
at 32.
"""
LEAST = 12
"""Least scale of an attention numerator that is still useful: it is rounded by up to 1e-4."""
