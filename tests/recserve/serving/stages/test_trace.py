"""A trace times stages, failed ones included, and a batch that waits goes on with a copy of it."""

from __future__ import annotations

import pytest

from recserve.serving.stages.trace import Trace


def test_a_stage_that_fails_has_its_time_as_well() -> None:
    trace = Trace()
    with trace.stage("history"):
        pass
    with pytest.raises(ValueError, match="boom"), trace.stage("ranking"):
        raise ValueError("boom")
    timings = trace.timings()
    assert list(timings) == ["history", "ranking", "total"]
    assert timings["total"] >= max(timings["history"], timings["ranking"]) >= 0


def test_a_resumed_trace_keeps_what_was_and_shares_nothing() -> None:
    trace = Trace()
    trace.left_out({"store": "store"})
    with trace.stage("history"):
        pass
    resumed = trace.resumed()
    with resumed.stage("ranking"):
        resumed.left_out({"retriever:mf": "late"})
    assert list(resumed.degraded) == ["store", "retriever:mf"]
    assert resumed.now >= trace.now
    assert trace.degraded == {"store": "store"}
    assert "ranking" not in trace.timings()
