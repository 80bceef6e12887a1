"""The stages of the graph as plain objects, free of Ray."""
