"""Reranker ``llm_rerank``: the language model orders the best of the ranked list."""
