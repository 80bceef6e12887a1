"""Toolkit of data sources: files of a domain as canonical tables, and the sources of a domain plugin."""
