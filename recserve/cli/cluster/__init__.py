"""Commands about Ray clusters: what is in the way on one, and jobs for it."""
