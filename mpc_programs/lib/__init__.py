"""Kernels that generated MP-SPDZ programs call; they run inside MP-SPDZ's compiler.

Conventions. Values are `sfix` containers `[B, *shape]` in memory, B the examples of one tile; a matrix product
reads memory, everything else works on whole vectors, so that rounds do not grow with B, tokens or columns.
`tensor.store` ends a basic block: the order of loads and stores then holds at any compiler budget. Weight matrices
are `[in, out]`.

Errors in the docstrings are absolute, measured at f = 16 with `-E ring` unless they say otherwise; one unit is
2^-16. Rounds and bytes (all parties) are what MP-SPDZ's compiler counts for `-E ring`, where a product takes 1, a
truncation 2 and a comparison 7; other protocols need more. Unless a docstring says otherwise a kernel opens nothing
but what MP-SPDZ's own truncation and comparison open (uniformly masked values).
"""
