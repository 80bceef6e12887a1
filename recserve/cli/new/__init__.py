"""Commands that write starting points."""
