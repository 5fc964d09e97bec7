"""Products of matrices on encrypted rows: exact numbers, BFV by SEAL, batches and single rows, random streams."""
