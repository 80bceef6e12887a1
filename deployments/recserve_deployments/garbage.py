"""Keeps the cyclic garbage collector from stopping a replica while requests wait.

Python looks for cycles whenever some hundred more objects were made than freed, which is every few requests,
and what a request still holds at that moment is taken for long-lived. So it soon looks through everything
there is, the catalogue and the histories of all users included: 30 ms each time, four times a second, a
sixth of a replica's time. Reference counts free nearly everything as it is; the rest can wait.
"""

from __future__ import annotations

import gc

from recserve.data.memory import give_back

THRESHOLDS = (50_000, 20, 20)
"""New objects before the youngest are looked through, and how often that is before older ones are."""


def settle() -> None:
    """Take everything there is now for permanent, but for garbage, and look for new garbage seldom.

    Memory that is free then goes back to the system.

    Call it when a replica has loaded what it keeps, and again when it has replaced some of it.
    """
    gc.set_threshold(*THRESHOLDS)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    give_back()
