"""From the model plan to a program of MP-SPDZ: protocols, calls of the kernel library, text."""
