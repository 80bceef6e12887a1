"""Gorse's wire format: bodies, query parameters, answers and errors."""
