"""Client of an OpenAI-compatible language model: bounded in time, size, number and money."""
