"""Immutable, hash-verified bundles of trained components, and what is kept beside them."""
