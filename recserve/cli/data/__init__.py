"""Commands that bring data into the store, and those that look after it."""
