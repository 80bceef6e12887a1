"""What a stream has done, in its log and on its page of metrics."""

from __future__ import annotations

import logging

import httpx
import pytest

from benchmarks.common import free_port
from recserve.errors import ConfigError, RuntimeEnvironmentError
from recserve.streams.counts import NAMED, StreamCounts, metrics_page


def test_the_last_line_says_everything() -> None:
    counts = StreamCounts("source")
    assert counts.line() == "nothing"
    counts.count("events", "stored", 12_000)
    counts.count("events", "refused", 0)
    counts.count("messages", "refused", 3)
    assert counts.line() == "12,000 events stored, 3 messages refused"


def test_progress_is_said_when_something_happened(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "recserve.streams")
    counts = StreamCounts("source")
    counts.say(now=True)
    counts.count("events", "stored", 5)
    counts.behind({"a": 2, "b": 3})
    counts.say()
    counts.say(now=True)
    counts.say(now=True)
    assert caplog.messages == ["source: 5 events stored; 5 behind"]


def test_very_many_refusals_are_not_all_named(caplog: pytest.LogCaptureFixture) -> None:
    counts = StreamCounts("source")
    for number in range(5 * NAMED):
        counts.refuse(f"events/0@{number}", "bad")
    assert len(caplog.messages) == NAMED + 1
    assert caplog.messages[3] == "events/0@3 was refused: bad"


def test_prometheus_reads_the_counts() -> None:
    counts = StreamCounts("source")
    counts.count("events", "stored", 5)
    counts.behind({"clicks": 7})
    address = f"127.0.0.1:{free_port()}"
    with metrics_page(address, counts):
        page = httpx.get(f"http://{address}/metrics", trust_env=False)
        assert httpx.get(f"http://{address}/", trust_env=False).status_code == 404
    lines = page.text.splitlines()
    sent = 'recserve_stream_changes_total{kind="events",node='
    assert any(line.startswith(sent) and line.endswith("} 5.0") for line in lines)
    behind = 'recserve_stream_queue_length{kind="clicks",node='
    assert any(line.startswith(behind) and line.endswith("} 7.0") for line in lines)


def test_an_address_that_is_none_or_taken_is_refused() -> None:
    counts = StreamCounts("source")
    for address in ("9109", "host:none", ""):
        with pytest.raises(ConfigError, match="HOST:PORT"), metrics_page(address, counts):
            pass
    address = f"127.0.0.1:{free_port()}"
    with (
        metrics_page(address, counts),
        pytest.raises(RuntimeEnvironmentError, match="cannot listen"),
        metrics_page(address, counts),
    ):
        pass
