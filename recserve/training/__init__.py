"""Training: from a snapshot of the store to a promoted bundle."""
