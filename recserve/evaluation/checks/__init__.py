"""Checks that a measurement is honest: leaks and shuffled labels."""
