"""Several groups of parties as one engine: a step is spread over them, and one that dies is done without."""
