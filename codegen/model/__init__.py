"""What a model is and what is asked of it: Hugging Face folders, tokenizers, adapters and options in; one spec out."""
