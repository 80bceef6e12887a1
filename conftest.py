"""Settings of all tests, those of plugins included."""

from __future__ import annotations

import os

from hypothesis import settings

# Tables are as wide wherever tests run: consoles read this once, and test processes have widths of their own.
os.environ["COLUMNS"] = "200"

# Timing is never asserted: a machine that is busy, or coverage, makes an example slow, not wrong.
settings.register_profile("recserve", deadline=None)
settings.load_profile("recserve")
