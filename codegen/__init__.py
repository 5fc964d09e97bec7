"""Compiler front end: a Hugging Face model in, programs for three-party computation out."""

VERSION = "0.1.0"
