"""Words that stand in for others: every token's nearest ones in the original's embedding table.

New text at no cost: the original says what it makes of a sentence with some words exchanged (the augmentation of
TinyBERT, Jiao et al. 2020, section 3.3, with the model's own table in place of a masked language model and GloVe).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

NEAREST = 8
"""Candidates for a token."""
CHUNK = 1024


def nearest_tokens(table: Tensor, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """For every token the ids of its `NEAREST` by cosine, `[vocabulary, NEAREST]`.

    `table`: `[vocabulary, h]`. A word's beginning stands for a beginning, a piece inside for a piece inside. Special
    and unused tokens are their own neighbours and nobody else's; where there are too few, a token is its own as well.
    """
    words = [tokenizer.id_to_token(i) or "[none]" for i in range(len(table))]
    special = torch.tensor([len(word) > 1 and word[0] in "[<" for word in words], device=table.device)
    marked = torch.tensor([word.startswith(("##", "Ġ")) for word in words], device=table.device)
    unit = functional.normalize(table.float(), dim=-1)
    own = torch.arange(len(table), device=table.device)[:, None]
    nearest = []
    for rows in torch.split(torch.arange(len(table), device=table.device), CHUNK):
        likeness = unit[rows] @ unit.T
        unlike = special | special[rows, None] | (marked != marked[rows, None]) | (own[rows] == own.T)
        found = likeness.masked_fill_(unlike, -math.inf).topk(min(NEAREST, len(table)), dim=-1)
        nearest.append(torch.where(found.values.isinf(), own[rows], found.indices))
    return torch.cat(nearest).cpu().numpy()
