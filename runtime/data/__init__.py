"""The data owner's files: what is read from them, and the sets that are drawn."""
