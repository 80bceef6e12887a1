"""Metrics of lists, of stages and of groups of users."""
