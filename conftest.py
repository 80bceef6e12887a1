"""Settings of all tests, those of plugins included."""

from __future__ import annotations

from hypothesis import settings

# Timing is never asserted: a machine that is busy, or coverage, makes an example slow, not wrong.
settings.register_profile("recserve", deadline=None)
settings.load_profile("recserve")
