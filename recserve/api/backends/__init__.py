"""What the routes are answered by: the protocol and its implementations."""
