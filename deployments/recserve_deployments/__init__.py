"""The Ray Serve graph."""
