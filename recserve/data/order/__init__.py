"""Order of events: what their times say."""
