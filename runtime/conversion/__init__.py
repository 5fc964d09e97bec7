"""A conversion to random features from start to end: its run folder, what it shows and what it writes."""
