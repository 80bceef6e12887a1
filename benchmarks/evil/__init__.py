"""A plugin that does everything wrong, and what it costs the others."""
