"""Model folders as Hugging Face's libraries write them: files, layout, and what their tokenizer is."""
