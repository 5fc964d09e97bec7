"""The embedded three-party VM as an engine: its parties, its client, its simulator."""
