"""Free memory is handed back to the operating system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from recserve.data.system.memory import give_back

FRAGMENTED = """
import psutil, sys
from recserve.data.system.memory import give_back
blocks = [bytes(1000) for _ in range(200_000)]
# Every hundredth block stays, so that the C library cannot return the heap from its end.
del blocks[1:100_000], blocks[2::2]
held = psutil.Process().memory_info().rss
give_back()
print(held - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc")
def test_a_process_is_smaller_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000_000


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_: object) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without)
    give_back()
