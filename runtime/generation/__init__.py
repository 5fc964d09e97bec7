"""Text of a decoder by private inference: one token after the other, or as many as a public model drafts well."""
