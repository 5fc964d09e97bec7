"""One step of tuning under several protocols, measured side by side."""
