"""LoRA adapters trained in the clear on public text, and what a model with one costs."""
