"""Whether this process computes with compiled kernels: servers do, where numba is installed.

Everything has an implementation in NumPy, which the compiled one agrees with. Importing numba takes some
60 MB and half a second, which pays where answers are given by the thousand, not in a command that ends soon.
"""

from __future__ import annotations

import importlib
import logging
import threading
from types import ModuleType

KERNELS = "recserve.data.system.kernels"
"""The kernels of the library itself."""

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
        return importlib.import_module(module)
    except Exception as error:  # not installed, no folder to cache in, a processor that it does not know
        logger.warning("computing with NumPy instead of %s: %s", module, " ".join(str(error).split()))
        return None
