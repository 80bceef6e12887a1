"""Promotion: the evidence for and against a bundle, and the gate that goes by it."""
