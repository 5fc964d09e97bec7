"""The model plan: what a tuning step computes, layer by layer, whatever engine runs it."""
