"""Explainer ``llm``: sentences of a language model that only use facts of the item and the history."""
