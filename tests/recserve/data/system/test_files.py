"""Durable files and their hashes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve.data.system.files import sha256_of, sync


@given(st.binary(max_size=100_000))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_hash_is_that_of_the_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()


def test_files_and_folders_are_flushed_and_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.append(os.fstat(handle).st_ino), real(handle)))
    path = tmp_path / "file"
    path.write_text("x")
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    sync(path)
    sync(tmp_path)
    assert flushed == [path.stat().st_ino, tmp_path.stat().st_ino]
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_what_is_not_there_cannot_be_made_durable(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "nothing")
