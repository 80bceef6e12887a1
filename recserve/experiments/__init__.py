"""Experiments: arms that are compared on live traffic, and what may be concluded from them."""
