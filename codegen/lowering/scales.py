"""Scales, that is fraction bits, of what lowering makes: as few as accuracy allows, since every bit of a value is sent
three times (`narrow.py`)."""

from __future__ import annotations

ROW = 13
"""Normalised rows and everything row-like."""
STREAM = 14
"""Rows of a decoder's residual stream, relative to the smallest root mean square that a row may have: SmolLM2's grow
from 0.07 behind the embeddings to 50, and those of single tokens are 20 times as large as others'."""
LONG = 11
"""Rows before they are normalised, relative to the smallest deviation that a row may have: only directions count."""
TURN = 21
"""Weights that make phases out of rows: with a row's they err by 1e-5 turns."""
WEIGHT = 17
"""Weights of products that are truncated to `ROW` at once."""
EMBEDDING = 20
"""Embeddings of unit length, their means, and the weight of these in the head."""
LOGIT = 16
"""Logits and losses, which are opened."""
INVERSE = 12
"""Inverse deviations of rows, relative to the smallest: a row errs by one part in 10^4."""
ANGLE = 11
"""Random features."""
BENT = 12
"""The even part of an activation, and softmax's roots of weights."""
RECIPROCAL = 13
"""One over a sum of weights or a denominator."""
SUMS = (29, 28, 27, 26)
"""To choose from for the rows before a layer norm, the largest values of a layer: the largest scale that fits is taken.
The matrices behind attention and activation keep 16 fraction bits less."""
LEAST = 12
"""Least scale of an attention numerator that is still useful: it is rounded by up to 1e-4."""
