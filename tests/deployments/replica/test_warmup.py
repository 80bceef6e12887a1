"""What replicas tell the garbage collector, in a process of its own: it concerns all that runs in it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc, weakref
from recserve_deployments.replica.warmup import THRESHOLDS, settle

class Loaded: ...

def cycle():
    one = Loaded()
    one.itself = one
    return weakref.ref(one)

kept = [Loaded() for _ in range(1000)]
garbage = cycle()
settle()
assert garbage() is None, "garbage must not become permanent"
assert gc.get_threshold() == THRESHOLDS
assert gc.get_freeze_count() >= 1000
assert not any(isinstance(one, Loaded) for one in gc.get_objects()), "what is loaded is not looked through"
later = cycle()
settle()
assert later() is None
gc.collect()
assert len(kept) == 1000
"""


def test_what_is_loaded_is_permanent_and_garbage_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
