"""Ranker ``deepfm``: a factorisation machine and a deep network over the feature set."""
