"""MP-SPDZ as an engine: its installation, its parties, its client protocol."""
