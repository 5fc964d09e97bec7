"""The ring program: a dozen operations on Z_2^64, their rules, costs, text form and oracle."""
