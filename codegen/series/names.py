"""Names of the activations, apart from their functions: options are read without numpy."""

from __future__ import annotations

from typing import Literal

ActivationName = Literal["gelu", "relu"]
"""Keys of `activations.ACTIVATIONS`; a test holds the two equal."""
DecoderActivationName = Literal["gelu", "relu", "gelu_new", "silu"]
"""Keys of `activations.OF_DECODERS`."""
