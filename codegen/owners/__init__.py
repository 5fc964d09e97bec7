"""What the two owners do in the clear: prepare weights, embed texts, run frozen layers, calibrate."""
