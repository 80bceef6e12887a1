"""Library for sequence models: everything but the network that reads a user's events. It registers nothing.

A component brings a :class:`recserve_sequence.network.SequenceNetwork` and gets the rest: windows, sampled
softmax, training loop, item vectors from text and id, blend with what retrieval knows, files, serving.
Light to import: torch is loaded by the modules.
"""

from recserve_sequence.parameters import SequenceParams

__all__ = ["SequenceParams"]
