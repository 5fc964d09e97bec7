"""LoRA adapters in PEFT's layout: which tensors of a model they change, and how."""
