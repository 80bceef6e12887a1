"""Requests: what is asked, made ready, grouped into batches and turned into queries."""
