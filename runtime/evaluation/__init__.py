"""What logits say of labelled examples: metrics with intervals, their file, text and figure."""
