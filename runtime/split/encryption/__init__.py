"""Products of matrices on encrypted rows: integers, BFV and CKKS by SEAL, random streams, threads."""
