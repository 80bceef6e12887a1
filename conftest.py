"""Settings of all tests, those of plugins included."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from recserve.data.system.compilation import compile_kernels

# Tables are as wide wherever tests run: consoles read this once, and test processes have widths of their own.
os.environ["COLUMNS"] = "200"

# Timing is never asserted: a machine that is busy, or coverage, makes an example slow, not wrong. Examples of
# `make test` are the same in each run, so that it fails by a change only; `make fuzz` looks for new ones.
settings.register_profile("recserve", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "recserve"))


@pytest.fixture(autouse=True)
def _plain_kernels() -> Iterator[None]:
    """What a test opens may have its process compute with compiled kernels; the next begins with NumPy."""
    yield
    compile_kernels(False)
