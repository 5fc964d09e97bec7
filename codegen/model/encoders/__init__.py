"""Encoders: where their checkpoints keep each tensor."""
