"""Filters: which items may be returned."""
