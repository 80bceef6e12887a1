"""Ranker ``lambdamart``: gradient-boosted trees over the feature set."""
