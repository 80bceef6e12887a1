"""Whether this process computes with compiled kernels: servers do, where numba is installed.

Everything has an implementation in NumPy, which the compiled one agrees with. Importing numba takes some
60 MB and half a second, which pays where answers are given by the thousand, not in a command that ends soon.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

KERNELS = "recserve.data.system.kernels"
"""The kernels of the library itself."""

_PATIENCE = 60.0
"""Seconds that a process waits for another one that compiles; then it compiles too."""

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_modules: dict[str, ModuleType | None] = {}
_chosen = False


def compile_kernels(chosen: bool = True) -> None:
    """Have this process compute with compiled kernels from now on, or with NumPy again.

    Compiled code is kept on disk, so only the first process of an installation compiles.
    """
    global _chosen
    _chosen = chosen


def compiled(module: str) -> ModuleType | None:
    """A module of compiled kernels, or None where this process computes with NumPy.

    Args:
        module: Its full name; it imports numba.
    """
    if not _chosen:
        return None
    if module not in _modules:
        with _lock:
            if module not in _modules:
                _modules[module] = _imported(module)
    return _modules[module]


def _imported(module: str) -> ModuleType | None:
    try:
        with _alone(module):
            return importlib.import_module(module)
    except Exception as error:  # not installed, no folder to cache in, a processor that it does not know
        logger.warning("computing with NumPy instead of %s: %s", module, " ".join(str(error).split()))
        return None


@contextmanager
def _alone(module: str) -> Iterator[None]:
    """Hold a lock on a module's source: of processes that start together one compiles, others read its cache.

    Compiling takes seconds of a core, and the replicas of a server are started at the same time.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        yield
        return
    with Path(found.origin).open("rb") as source:
        until = time.monotonic() + _PATIENCE
        while not _locked(source.fileno()) and time.monotonic() < until:
            time.sleep(0.05)
        yield


def _locked(file: int) -> bool:
    """Whether waiting is over: the lock is ours, or the filesystem has none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
