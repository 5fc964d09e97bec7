"""What the embedded VM costs: seconds, bytes, rounds and memory of layers, passes and generations."""
