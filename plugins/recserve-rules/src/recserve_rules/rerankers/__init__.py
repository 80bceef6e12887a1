"""Rerankers: the order of a page."""
