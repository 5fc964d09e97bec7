"""Two parties, no third: the data owner runs a public base, and asks the model owner's server for what a LoRA adds."""
