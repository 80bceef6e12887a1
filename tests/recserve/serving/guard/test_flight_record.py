"""Flight records: real processes that die in a call, and what the next one makes of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from recserve.errors import StageDownError
from recserve.serving.guard import workers
from recserve.serving.guard.flight_record import FlightRecord
from recserve.serving.guard.workers import WorkerCall, WorkerPool

DIES = """
import os, sys, time
from pathlib import Path
from recserve.serving.guard import workers
from recserve.serving.guard.flight_record import FlightRecord
from recserve.serving.guard.workers import WorkerCall, WorkerPool

workers._DEATH_PAUSES = (0.0, 0.0)  # called again at once

def outer():
    calls = [WorkerCall("retriever:good", lambda: 1), WorkerCall("retriever:evil", dies)]
    return pool.run_all(calls, 30)

def dies():
    time.sleep(0.5)  # the other one has come back by then
    os._exit(9)

pool = WorkerPool(record=FlightRecord(Path(sys.argv[1]), "retrieval"))
pool.run_all([WorkerCall("retrieval@home", outer)], 30)
"""


def die(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, str(folder)], check=False, timeout=60)
    assert done.returncode == 9


def run(pool: WorkerPool, lane: str) -> int:
    return asyncio.run(pool.run(lane, 5.0, lambda: 7))


def test_the_next_process_knows_whose_call_ended_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    die(tmp_path)
    record = FlightRecord(tmp_path, "retrieval")
    assert "died while it called retriever:evil" in caplog.text
    assert record.deaths("retriever:evil") == 1
    assert record.deaths("retriever:good") == record.deaths("retrieval@home") == 0, "they only waited"
    pool = WorkerPool(record=record)
    with pytest.raises(StageDownError, match="retriever:evil was being called when 1 process"):
        run(pool, "retriever:evil")
    assert run(pool, "retriever:good") == 7


def test_deaths_are_counted_until_a_call_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        die(tmp_path)
    record = FlightRecord(tmp_path, "retrieval")
    assert record.deaths("retriever:evil") == 3
    monkeypatch.setattr(workers, "_DEATH_PAUSES", (0.0, 0.0))
    assert run(WorkerPool(record=record), "retriever:evil") == 7
    assert record.deaths("retriever:evil") == 0


def test_processes_that_live_and_other_kinds_are_left_alone(tmp_path: Path) -> None:
    lives = FlightRecord(tmp_path, "retrieval")
    with lives.calling("retriever:slow"):
        assert FlightRecord(tmp_path, "retrieval").deaths("retriever:slow") == 0
        assert FlightRecord(tmp_path, "ranking").deaths("retriever:slow") == 0
    lives.close()
    assert len(list(tmp_path.glob("retrieval-*.flight"))) == 1


def test_damaged_and_overfull_records_suspect_nobody(tmp_path: Path) -> None:
    (tmp_path / "retrieval-1.flight").write_bytes(b"")
    (tmp_path / "retrieval-2.flight").write_bytes(b"\0" * 40_000)
    record = FlightRecord(tmp_path, "retrieval")
    pool = WorkerPool(record=record)
    calls = [WorkerCall(f"lane {number}", lambda number=number: number) for number in range(300)]
    assert pool.run_all(calls, 30) == list(range(300))
