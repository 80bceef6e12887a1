"""Features: declared, counted on events, and computed for candidates by the code that serves."""
