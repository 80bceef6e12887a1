"""Measurements of a whole server; see docs/how-to/measure.md."""
