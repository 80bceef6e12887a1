"""What became of what was shown: impressions joined with events, daily counts, reports, statistics."""
