"""What the benchmarks compute from what they saw."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks import common
from benchmarks.outcome import RESTART, Fault, compare, effect_of, report
from benchmarks.traffic import Call, Traffic

FACT = ("user-1", "item-1", "view")


def some_traffic() -> Traffic:
    return Traffic("http://127.0.0.1:1", ["user-1"], ["item-1"], 10, 4, "run", with_items=True)


def test_what_a_restart_broke_is_not_counted_against_the_next_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = some_traffic()
    seen.calls += [Call("read", 4.0, 14.0, 0, "TimeoutError"), Call("read", 12.0, 12.1, 200)]
    faults = [Fault(RESTART, 2.0, 3.0, 8.0), Fault("silent connections", 10.0, 13.0, 13.1)]
    report(seen, faults, compare(seen, [], {}), "SQLite", None)
    assert "reads answered while something was broken: 100.000% of 1" in capsys.readouterr().out


def test_quantiles_are_values_that_were_seen() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [common.quantile(values, q) for q in (0.0, 0.2, 0.5, 0.99, 1.0)] == [1, 1, 3, 5, 5]
    assert common.quantile(list(range(1, 101)), 0.99) == 99
    assert math.isnan(common.quantile([], 0.5))


def test_configurations_are_merged_by_key_and_lists_replaced() -> None:
    base = {"server": {"port": 1, "host": "a"}, "scenarios": {"home": {"retrievers": [1, 2]}}}
    changed = common.merged(base, {"server": {"port": 2}, "scenarios": {"home": {"retrievers": [3]}}})
    assert changed == {"server": {"port": 2, "host": "a"}, "scenarios": {"home": {"retrievers": [3]}}}
    assert base["server"] == {"port": 1, "host": "a"}


def test_an_effect_counts_reads_that_overlap_the_fault_and_leaves_the_next_one_its_own() -> None:
    fault = Fault("Ranking killed", started=10.0, mending=10.0, healthy=15.0)
    calls = [
        Call("read", 8.0, 9.0, 500),  # over before
        Call("read", 9.0, 11.0, 200),
        Call("read", 12.0, 14.0, 200, "", ("ranking",)),
        Call("read", 13.0, 13.5, 0, "ReadError"),
        Call("read", 14.0, 14.5, 503, "not_ready"),
        Call("event", 12.0, 13.0, 503),  # not a read
        Call("read", 16.0, 17.0, 200, "", ("ranking",)),  # healthy, yet still noticed
        Call("read", 19.0, 21.0, 500),  # the next fault's
    ]
    effect = effect_of(fault, calls, until=20.0)
    assert (effect.reads, effect.failed, effect.success) == (4, 2, 0.5)
    assert (effect.recovery_s, effect.noticed_s, effect.outage_s) == (5.0, 7.0, 1.5)
    assert (effect.longest_s, dict(effect.degraded)) == (2.0, {"ranking": 1})


def test_a_fault_that_never_healed_lasts_until_the_next_one() -> None:
    effect = effect_of(Fault("x", 10.0, 10.0), [Call("read", 18.0, 19.0, 503)], until=20.0)
    assert (effect.recovery_s, effect.reads, effect.failed, effect.noticed_s) == (None, 1, 1, 9.0)


def test_events_that_are_missing_changed_or_doubled_are_found() -> None:
    seen = some_traffic()
    seen.sent.update(["a", "b", "c", "d", "e"])
    seen.acknowledged.update(dict.fromkeys(["a", "b", "c", "d"], FACT))
    seen.item_revisions.update({"x": 3, "y": 2, "z": 1})
    rows = [("a", FACT), ("b", ("user-2", "item-1", "view")), ("d", FACT), ("d", FACT), ("e", FACT)]
    kept = compare(seen, rows, {"x": 3, "y": 1})
    assert (kept.lost, kept.twice, kept.items_lost) == (["b", "c"], ["d"], ["y", "z"])
    assert (kept.acknowledged, kept.sent, kept.stored) == (4, 5, 4)


@pytest.mark.parametrize(("status", "stored", "expected"), [(503, True, 0), (500, True, 1), (503, False, 1)])
def test_only_a_500_or_a_lost_write_fails_the_benchmark(
    status: int, stored: bool, expected: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = some_traffic()
    seen.calls += [Call("read", 1.0, 2.0, status, "not_ready"), Call("event", 1.0, 2.0, 200)]
    seen.sent.add("a")
    seen.acknowledged["a"] = FACT
    kept = compare(seen, [("a", FACT)] if stored else [], {})
    faults = [Fault("Ranking killed", 0.5, 0.5, 3.0)]
    assert report(seen, faults, kept, "SQLite", tmp_path / "out.json") == expected
    assert "Ranking killed" in capsys.readouterr().out
    assert (tmp_path / "out.json").exists()


def test_a_refused_write_that_is_stored_fails_the_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = some_traffic()
    seen.calls += [Call("read", 1.0, 2.0, 200), Call("event", 1.0, 2.0, 503, "store_unavailable")]
    seen.sent.update(["a", "b"])
    seen.refused.update(["a", "b"])
    faults = [Fault("SQLite file locked", 0.5, 0.5, 3.0)]
    assert report(seen, faults, compare(seen, [], {}), "SQLite", None) == 0
    kept = compare(seen, [("b", FACT)], {})
    assert (kept.refused, kept.refused_stored) == (2, ["b"])
    assert report(seen, faults, kept, "SQLite", None) == 1
    assert "reads answered while something was broken: 100.000% of 1" in capsys.readouterr().out


@asynccontextmanager
async def canned(answers: list[bytes]) -> AsyncIterator[str]:
    """A server that gives one raw answer to each connection, in turn; an empty one breaks it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: *(\d+)", head.lower())
        await reader.readexactly(int(length))
        writer.write(answers.pop(0))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


def raw(status: int, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content


async def collect(seen: Traffic, answers: list[bytes]) -> dict[str, object] | None:
    async with canned(answers) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        return await seen._until_acknowledged(client, "event", "/v1/events", {"event_id": "a"})


def test_a_collector_retries_until_acknowledged_but_not_what_is_refused() -> None:
    error = {"error": {"code": "store_unavailable", "message": "down"}}
    seen = some_traffic()
    answers = [raw(503, error), b"", raw(429, "not JSON of ours"), raw(200, {"accepted": 1})]
    assert asyncio.run(collect(seen, answers)) == {"accepted": 1}
    assert [(call.status, call.code) for call in seen.calls] == [
        (503, "store_unavailable"),
        (0, "RemoteProtocolError"),
        (429, "not from the API"),
        (200, ""),
    ]
    assert seen.rejected == []
    assert asyncio.run(collect(seen, [raw(422, error)])) is None
    assert seen.rejected == ["/v1/events was answered 422 store_unavailable"]


def test_a_connection_opens_again_after_it_broke() -> None:
    async def ask() -> None:
        async with canned([raw(200, [1]), b"", raw(404, None)]) as url:
            connection = common.Connection("127.0.0.1", int(url.rpartition(":")[2]))
            assert await connection.call("POST", "/", {}) == (200, [1])
            with pytest.raises(EOFError):
                await connection.call("POST", "/", {})
            assert await connection.call("POST", "/", {}) == (404, None)

    asyncio.run(ask())
