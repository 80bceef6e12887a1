"""Statements and rows, shared by the tables."""
