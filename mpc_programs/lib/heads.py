"""From the pooled row to logits. A classification head is `dense`, `dense`; a masked-LM head `dense`, `normalize`,
`affine` and the label words' rows of the decoder as one more `dense`; a prototype head is `cosine`.
"""

from Compiler.types import sfix

from lib.normalization import unit_rows
from lib.tensor import rescale, store


def cosine(x, prototypes, *, temperature):
    """temperature * P x/‖x‖.

    Shapes: x `[B, h]`, prototypes `[h, L]` with unit columns -> `[B, L]`. Scale: f.
    Interval: ‖x‖² from 2^-10 to 2^(k-f-1).
    Error: temperature * 3e-4.
    Rounds: 71. Opens: nothing.
    """
    similarity = unit_rows(x).direct_mul(prototypes)
    return store(rescale(similarity.v, sfix.f, temperature), x.shape[0], prototypes.shape[1])
