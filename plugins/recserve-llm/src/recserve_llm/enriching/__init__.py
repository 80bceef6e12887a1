"""Item text ``llm``: another item text with tags and a summary by a language model, asked at training."""
