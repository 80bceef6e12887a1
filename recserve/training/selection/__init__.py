"""Selection of a pipeline's parts and of the order of its candidates, on held-out training data."""
