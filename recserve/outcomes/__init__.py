"""What became of what was shown: statistics of impressions and of what followed them."""
