"""From the model plan to the ring program: how each layer is computed on shares."""
