"""What becomes of a run when something dies, stops, fills up or is cut off."""
