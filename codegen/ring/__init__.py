"""The ring program: operations on Z_2^64, a row each; their builder, schedule, costs, text form and oracle."""
