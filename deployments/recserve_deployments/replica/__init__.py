"""What every replica of the graph has: its bundle, its guard, its observers, its warm-up."""
