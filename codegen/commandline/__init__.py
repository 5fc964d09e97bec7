"""What all commands share: options declared once, problems said all at once, one look."""
