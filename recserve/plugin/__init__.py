"""The plugin contract: stage protocols, hooks, and the registry that finds plugins."""
