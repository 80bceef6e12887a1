"""Checks of an evaluation: leaks and shuffled labels."""
