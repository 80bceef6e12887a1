"""Authentication: API keys, user tokens, and who is behind a request."""
