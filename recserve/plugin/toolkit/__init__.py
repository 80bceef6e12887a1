"""Building blocks for plugin authors: top-k, interaction matrices, model selection, metrics."""
