"""Solvers of the factorisation, and of users at request time."""
