"""What keeps a plugin from harming others: deadlines, checks of results, and logging by kind."""
