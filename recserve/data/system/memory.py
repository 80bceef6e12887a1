"""Release of free heap pages to the operating system (malloc_trim)."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def give_back() -> None:
    """Give back what Arrow and the C library keep for later, after something large was loaded.

    Both hold on to what is freed, as most programs soon need it again. A replica that has loaded its bundle
    does not.
    """
    pa.default_memory_pool().release_unused()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return  # Another C library than glibc.
