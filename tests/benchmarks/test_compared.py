"""The comparison with peers, as far as it goes without them: protocol, ways of asking, application, table."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from benchmarks.compared import app as peer_app
from benchmarks.compared.__main__ import peer_python
from benchmarks.compared.app import History, application, divided, ndcg, read
from benchmarks.compared.asking import Client, Effects, effects, follow
from benchmarks.compared.load import WiredLoad, WiredPlan
from benchmarks.compared.protocol import K, Protocol, mean
from benchmarks.compared.sides import Recotem, peers
from benchmarks.compared.table import FRESH, NEVER, REPEATED, Column, Quality, markdown, rows
from benchmarks.compared.wires import MOST_ITEMS, WIRES
from benchmarks.datasets import Data
from benchmarks.serving_load import Summary
from recserve.errors import PluginError
from recserve.evaluation import Interval

DAY = 86_400_000
ITEMS = [f"i{number:02}" for number in range(40)]


def some_data() -> Data:
    """Nine users with nine events each in the past; two of them and a new one have three afterwards."""
    rows = [
        (f"u{user}", ITEMS[(user * 3 + step) % 40], 4.0, step * DAY + user)
        for user in range(9)
        for step in range(9)
    ]
    rows += [
        (user, ITEMS[first + step], 5.0, (100 + step) * DAY + number)
        for number, (user, first) in enumerate((("u0", 30), ("u1", 20), ("new", 10)))
        for step in range(3)
    ]
    users, items, values, times = zip(*rows, strict=True)
    events = pa.table(
        {
            "user_id": list(users),
            "item_id": list(items),
            "event": ["rating"] * len(rows),
            "value": list(values),
            "timestamp": pa.array(times, pa.int64()),
        }
    )
    return Data(
        "made up", events, pa.table({"item_id": ITEMS, "attributes": ["{}"] * len(ITEMS)}), timed=True
    )


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    return Protocol.of(some_data(), None)


def test_everybody_is_told_what_happened_before_a_question_and_nothing_of_its_answer(
    protocol: Protocol,
) -> None:
    past = protocol.histories()
    told: dict[str, list[str]] = {}
    questions = list(protocol.questions())
    assert len(questions) == len(protocol.split) == 9
    for asked, wanted in zip(questions, np.split(protocol.split.relevant.values, 9), strict=True):
        so_far = told.setdefault(asked.user, [])
        so_far += [event["item_id"] for event in asked.told]
        assert asked.history == past.get(asked.user, []) + so_far
        assert asked.untold == len(so_far)
        assert protocol.ids[wanted[0]] not in asked.history
    assert "new" not in past
    assert [len(asked.history) for asked in questions if asked.user == "new"] == [0, 1, 2]
    assert {**questions[1].told[0], "timestamp": 0} == {
        "user_id": "new",
        "item_id": "i10",
        "event": "rating",
        "value": 5.0,
        "timestamp": 0,
    }


def test_the_past_is_written_as_the_peers_read_it(protocol: Protocol, tmp_path: Path) -> None:
    protocol.write(tmp_path)
    found = read(tmp_path / "events.csv")
    assert {user: list(items) for user, items in found.items()} == protocol.histories()
    assert sum(len(items) for items in found.values()) == len(protocol.past) == 81


def test_lists_are_judged_by_the_item_that_came_next(protocol: Protocol) -> None:
    questions = list(protocol.questions())
    wanted = [protocol.ids[row] for row in protocol.split.relevant.values]
    others = [[item for item in ITEMS if item not in asked.history] for asked in questions]
    best = [
        [item, *(one for one in rest if one != item)][:K] for item, rest in zip(wanted, others, strict=True)
    ]
    assert mean(protocol.report("best", best), "ndcg@10").mean == 1.0
    second = [[items[1], items[0], *items[2:]] for items in best]
    report = protocol.report("second", second)
    assert mean(report, "ndcg@10").mean == pytest.approx(1 / np.log2(3))
    assert mean(report, "recall@20").mean == 1.0
    nothing = protocol.report("nothing", [[] for _ in questions])
    assert (mean(nothing, "ndcg@10").mean, nothing.unanswered) == (0.0, 9)


def test_lists_with_items_that_the_user_had_are_refused(protocol: Protocol) -> None:
    lists = [[asked.history[0]] if asked.history else [] for asked in protocol.questions()]
    with pytest.raises(PluginError):
        protocol.report("seen", lists)
    with pytest.raises(ValueError, match="1 lists for 9 questions"):
        protocol.report("few", [[]])


def test_what_cannot_be_told_is_asked_for_and_removed_by_the_client() -> None:
    by_user, by_history = WIRES["recotem-by-user"], WIRES["recotem-by-history"]
    assert by_user.body("u", ["a", "b"], 10, untold=2) == {"user_id": "u", "limit": 12}
    assert by_user.items({"items": [{"item_id": item} for item in "abcd"]}, ["b"], 2) == ["a", "c"]
    body = by_history.body("u", ITEMS * 4, 10)
    assert (len(body["seed_items"]), body["seed_items"][-1], body["limit"]) == (100, "i39", 70)
    assert by_history.body("u", ["a"] * 5000, 10)["limit"] == MOST_ITEMS
    assert WIRES["events"].body("u", ["a"], 10) == {"user_id": "u", "n": 10, "explain": False}


def test_a_history_that_the_client_keeps_grows_before_each_fresh_request() -> None:
    wire = WIRES["recotem-by-history"]
    plan = WiredPlan(
        1, wire.path, 1, 1.0, users=["u"], items=["z"], fresh=True, wire=wire.name, histories={"u": ["a"]}
    )
    load = WiredLoad(plan)
    assert json.loads(load.requests["u"].partition(b"\r\n\r\n")[2]) == {"seed_items": ["a"], "limit": 10}
    asyncio.run(load._store_events())
    assert json.loads(load.requests["u"].partition(b"\r\n\r\n")[2])["seed_items"] == ["a", "z"]
    by_user = WiredPlan(1, wire.path, 1, 1.0, users=["u"], items=["z"], wire="recotem-by-user")
    with pytest.raises(SystemExit, match="no event can be told"):
        asyncio.run(WiredLoad(by_user)._store_events())


class Newest:
    """Recommends the items after the newest one of the history; who has not changed gets them from i00 on."""

    def recommend(self, user: str, history: History, n: int, *, changed: bool) -> list[tuple[str, float]]:
        """See :class:`benchmarks.compared.app.Library`."""
        first = ITEMS.index(list(history)[-1]) + 1 if changed else 0
        rest = [ITEMS[(first + step) % 40] for step in range(40)]
        return [(item, 1.0) for item in rest if item not in history][:n]


@pytest.fixture(scope="module")
def port(protocol: Protocol) -> Iterator[int]:
    histories = {user: dict.fromkeys(items) for user, items in protocol.histories().items()}
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(application(Newest(), histories), log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        server.should_exit = True
        thread.join(10)


def test_a_server_is_told_and_asked_in_turn(protocol: Protocol, port: int) -> None:
    client = Client(port, WIRES["events"])
    found = follow(client, protocol)
    client.close()
    assert (found.refused, found.short) == (0, 1)  # nothing is known of the new user at first
    report = protocol.report("newest", found.lists)
    # All but the first questions are answered from the event just before, whose successor is what comes next.
    assert mean(report, "ndcg@10").mean >= 2 / 3
    assert report.unanswered == 1


def test_effects_of_an_event_are_seen_in_the_next_answer(protocol: Protocol, port: int) -> None:
    client = Client(port, WIRES["events"])
    found = effects(client, dict(list(protocol.histories().items())[:4]))
    client.close()
    assert (found.tried, found.changed, len(found.milliseconds)) == (4, 4, 4)
    assert (found.stranger, found.newcomer, found.possible) == (False, True, True)


def test_a_server_without_events_is_not_said_to_be_fresh(port: int) -> None:
    client = Client(port, WIRES["recotem-by-user"])
    found = effects(client, {"u0": ["i00"]})  # the path is not there: 404, as for a user who is not known
    client.close()
    assert found == Effects(possible=False)


def test_a_tenth_of_each_history_is_held_out() -> None:
    histories = {"long": dict.fromkeys(ITEMS[:20]), "short": dict.fromkeys(ITEMS[:9])}
    kept, held = divided(histories)
    assert held == {"long": {"i18", "i19"}}
    assert [len(history) for history in kept.values()] == [18, 9]
    # i18 and i19 come first of what is not in the history.
    assert ndcg(Newest(), kept, held) == pytest.approx(1.0)


def test_settings_are_drawn_within_their_ranges() -> None:
    generator = np.random.default_rng(0)
    for library in peer_app.LIBRARIES.values():
        drawn = [library.draw(generator) for _ in range(20)]
        assert {str(one) for one in drawn} != {str(drawn[0])}
        assert all(0.01 <= one.get("regularization", 1.0) <= 30.0 for one in drawn)


def test_peers_without_an_environment_are_left_out() -> None:
    name, path = peer_python(f"recotem={sys.executable}")
    assert (name, path) == ("recotem", Path(sys.executable).absolute())
    with pytest.raises(argparse.ArgumentTypeError, match="must be NAME=PATH"):
        peer_python(sys.executable)
    with pytest.raises(argparse.ArgumentTypeError, match="there is no interpreter"):
        peer_python("lenskit=/nowhere/python")
    assert [side.name for side in peers({"implicit": path, "recotem": path}, 1, 40, 12)] == [
        "recotem",
        "implicit",
    ]
    recipe = Recotem(path, 1, 7).recipe(Path("folder"))
    assert recipe["schema"] == {
        "user_column": "user_id",
        "item_column": "item_id",
        "time_column": "timestamp",
        "time_unit": "ms",
    }


def test_the_table_says_what_a_system_cannot_do() -> None:
    interval = Interval(0.05, 0.04, 0.06)
    run = Summary(1234.0, 0.5, 1.0, 12.3, 20.0, 0, 0, {"server": 0.75, "load": 0.1})
    able = Column(
        "able",
        "1",
        Quality(interval, interval, None, 1000, 0, 3),
        Effects(50, 49, [5.0, 6.0, 7.0], stranger=True, newcomer=True),
        {(REPEATED, 1): [run], (FRESH, 1): [run]},
        900.0,
        100.0,
        150.0,
    )
    unable = Column(
        "unable",
        "2",
        Quality(interval, interval, Interval(0.01, 0.005, 0.02), 1000, 600, 0),
        Effects(possible=False),
        {(REPEATED, 1): [run]},
        200.0,
        60.0,
        58.0,
        renewal_seconds=2.5,
    )
    found = {name: cells for name, *cells in rows([able, unable])}
    assert found["repeated answers, 1 connection: rate, p50, p99"] == ["1,234/s, 0.5, 12 ms"] * 2
    assert found["fresh answers, 1 connection: rate, p50, p99"][1] == NEVER
    assert found["CPU ms of the server for a fresh answer, 1 connection"] == ["0.75", "-"]
    assert found["next answer after an event is another"] == [
        "49 of 50, 6.0 ms",
        f"{NEVER}: 60 s of training, then 2.5 s until it is served",
    ]
    assert found["somebody unknown is answered"] == ["yes", "no"]
    assert found["able minus it (95%)"] == ["", "+0.0100 [+0.0050, +0.0200], significant"]
    assert found["lists shorter than 20 items"] == ["3", "0"]
    assert found["questions it could not answer"] == ["0 of 1,000", "600 of 1,000"]
    assert {line.count("|") for line in markdown([able, unable]).splitlines()} == {4}
    json.dumps([able.as_json(), unable.as_json()], allow_nan=False)
