"""Columns of the items: attributes and texts, kept compactly."""
