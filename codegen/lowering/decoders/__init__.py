"""Decoder layers in the ring: norms of the residual stream, rotary causal attention, gated feed-forward networks."""
