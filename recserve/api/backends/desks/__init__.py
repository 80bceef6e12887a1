"""Desks: parts of a backend that administer a server for callers of the API, off its event loop."""
