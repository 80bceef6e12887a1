"""Items: their rows, their changes, and their vectors."""
