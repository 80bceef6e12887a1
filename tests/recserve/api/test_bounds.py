"""A store that others hold: reads go on, writes are refused in JSON and never stored afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import httpx
import pytest

from recserve.api.middleware import errors
from recserve.errors import OutcomeUnknownError

WRITERS = 60


@pytest.fixture
def locked(impatient: Any) -> Any:
    """A server whose SQLite file another program holds for writing."""
    foreign = sqlite3.connect(impatient.folder / "recserve.db", isolation_level=None, check_same_thread=False)
    foreign.execute("BEGIN IMMEDIATE")
    yield impatient
    foreign.close()


def event(number: int) -> dict[str, Any]:
    return {"user_id": "ada", "item_id": "1", "event": "view", "event_id": f"e{number}"}


def test_writes_that_wait_neither_stop_reads_nor_are_stored_later(locked: Any) -> None:
    async def go() -> None:
        transport = httpx.ASGITransport(locked.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            # More than there are threads for writes.
            posted = [asyncio.create_task(client.post("/v1/events", json=event(n))) for n in range(WRITERS)]
            await asyncio.sleep(0)
            for path in ("/v1/users/ada/history", "/v1/items/260", "/v1/items?limit=3"):
                assert (await client.get(path)).status_code == 200
            # The reads were answered first, although as many writes came before as there are threads.
            assert not any(one.done() for one in posted)
            for answer in await asyncio.gather(*posted):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]["code"] in ("store_unavailable", "overloaded")
                assert "nothing was stored" in answer.json()["error"]["message"]

    asyncio.run(go())


def test_what_was_refused_is_not_stored_when_the_file_is_free_again(impatient: Any) -> None:
    foreign = sqlite3.connect(impatient.folder / "recserve.db", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    assert impatient.post("/v1/events", event(1)).status_code == 503
    foreign.execute("ROLLBACK")
    foreign.close()
    assert impatient.post("/v1/events", event(2)).json()["stored"] == 1
    assert len(impatient.get("/v1/users/ada/history").json()["events"]) == 1


class Undecided:
    """A backend whose store stops answering during a commit."""

    async def add_events(self, events: Any) -> int:
        raise OutcomeUnknownError("no word from db.example")


class Hanging:
    """A backend that never answers."""

    async def add_events(self, events: Any) -> int:
        await asyncio.Event().wait()
        return 0


def test_a_write_of_unknown_fate_says_so(served: Any) -> None:
    served.app.state.backend = Undecided()
    answer = served.post("/v1/events", event(1))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["code"] == "outcome_unknown"
    assert "not known" in answer.json()["error"]["message"]
    assert "nothing was stored" not in answer.text
    assert "db.example" not in answer.text


def test_a_request_that_is_never_done_ends_in_json(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "REQUEST_SECONDS", 0.2)
    served.app.state.backend = Hanging()
    answer = served.post("/v1/events", event(1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")


def test_a_path_cannot_begin_a_line_in_the_log(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    served.break_store()
    assert served.get("/v1/users/a%0AERROR%1b[31m/history").status_code == 503
    assert "a%0AERROR%1B" in caplog.text
    assert "\x1b" not in caplog.text
