"""Library for plugins that train with torch; it registers nothing.

Plugins do not import each other. What those that use torch have in common is here: where they compute, how a
fit is reproducible, how the processes of a loop sum gradients, and how a text encoder lends itself to the
training loop of another component.
"""

from recserve_torch.arrays import named_arrays, restore_moments, tensors_below
from recserve_torch.batches import length_groups
from recserve_torch.dropout import NO_DROPOUT, Dropout
from recserve_torch.exchange import Exchange
from recserve_torch.loop import run_loop
from recserve_torch.settings import choose_device, deterministic, mixed_precision, seeded
from recserve_torch.towers import OffersTower, TextTower

__all__ = [
    "NO_DROPOUT",
    "Dropout",
    "Exchange",
    "OffersTower",
    "TextTower",
    "choose_device",
    "deterministic",
    "length_groups",
    "mixed_precision",
    "named_arrays",
    "restore_moments",
    "run_loop",
    "seeded",
    "tensors_below",
]
