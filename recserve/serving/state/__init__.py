"""State that serving keeps in memory: histories, users, results and the live catalogue."""
