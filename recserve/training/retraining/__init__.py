"""Retraining of a home, and what is told of a run while it goes on."""
