"""A small language model of this machine, in a process of its own: ``python -m recserve_llm.local``."""
