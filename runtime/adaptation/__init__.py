"""How a model learns random features: student, corpus, training stages, fidelity."""
