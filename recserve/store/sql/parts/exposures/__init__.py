"""Exposures, and the impressions of users that they add up to."""
