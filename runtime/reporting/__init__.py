"""A run as one page to look at, `report.html`: no script, no network, nothing beside the file."""
