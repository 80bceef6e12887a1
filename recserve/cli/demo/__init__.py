"""The command ``recserve demo``, with or without a language model."""
