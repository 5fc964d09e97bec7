"""The machine that programs run on: what was built for it, how fast it is, what networks add."""
