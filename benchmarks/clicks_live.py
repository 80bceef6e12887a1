"""The simulated audience as callers of a live server, whose reports are held against what is true of it.

Users ask for pages, look at places by their bias, click what attracts them, and name the answer in the
event. What a report says of an arm must be what was shown and clicked, and its intervals must hold the
audience's true rates.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clicks_world import Row, World
from benchmarks.common import Connection, Server, scratch_home, serving, train_once
from recserve.data.arrays import Float64Array, Int64Array

ITEMS = 500
"""Kinds of items that users tell apart; an item of the catalogue is of the kind that its id hashes to."""
CONNECTIONS = 4
STORED_SECONDS = 30.0
"""How long it may take until all that was shown is in reports."""
SCENARIO = "home"


@dataclass
class Truth:
    """What happened to the pages of an arm.

    Attributes:
        shown: Items shown.
        clicks: Clicks.
        chances: Sum of the probabilities of a click.
        attraction: Sum of the probabilities of a click on what is looked at.
    """

    shown: int = 0
    clicks: int = 0
    chances: float = 0.0
    attraction: float = 0.0


class Audience:
    """The users, and what became of the pages they were shown.

    Args:
        server: The server.
        world: The users.
        seed: Seed of visits and clicks.
    """

    def __init__(self, server: Server, world: World, seed: int) -> None:
        self._server = server
        self._world = world
        self._generator = np.random.default_rng(seed)
        self.truth: dict[str | None, Truth] = {}

    async def visit(self, days: Sequence[int]) -> None:
        """Come on some days, one after the other."""
        for day in days:
            attraction = self._world.attraction(day)
            visitors = self._generator.permutation(self._world.visitors(self._generator))
            shares = [visitors[start::CONNECTIONS] for start in range(CONNECTIONS)]
            await asyncio.gather(*(self._come(share, attraction) for share in shares))

    async def _come(self, visitors: Int64Array, attraction: Float64Array) -> None:
        connection = Connection("127.0.0.1", self._server.port)
        try:
            for user in visitors.tolist():
                await self._ask(connection, user, attraction[user])
        finally:
            connection.close()

    async def _ask(self, connection: Connection, user: int, attraction: Float64Array) -> None:
        """Ask for a page, and click."""
        name = f"simulated-{user}"
        body = {"user_id": name, "n": self._world.places, "scenario": SCENARIO}
        answer = await _called(connection, "POST", "/v1/recommend", body)
        items = [item["item_id"] for item in answer["items"]]
        attracted = attraction[[zlib.crc32(item.encode()) % ITEMS for item in items]]
        chances = self._world.examination[: len(items)] * attracted
        clicked = self._generator.random(len(items)) < chances
        truth = self.truth.setdefault(answer.get("arm"), Truth())
        truth.shown += len(items)
        truth.clicks += int(clicked.sum())
        truth.chances += float(chances.sum())
        truth.attraction += float(attracted.sum())
        events = []
        for item, hit in zip(answer["items"], clicked, strict=True):
            if hit:
                events.append(
                    {
                        "user_id": name,
                        "item_id": item["item_id"],
                        "event": "click",
                        "recommendation_id": answer["recommendation_id"],
                    }
                )
        if events:
            await _called(connection, "POST", "/v1/events", {"events": events})


def live(home: Path, seed: int, users: int = 1500, days: int = 3) -> list[Row]:
    """A split experiment and an interleaved one on a live server.

    Args:
        home: A trained home, made if it is missing.
        seed: Seed of the audience.
        users: Number of users.
        days: Days that they come on; all of them pass at once.
    """
    train_once(home)
    world = World(users, seed, items=ITEMS)
    with scratch_home(home, {}) as copy, serving(copy) as server:
        return asyncio.run(_measure(server, world, seed, days))


async def _measure(server: Server, world: World, seed: int, days: int) -> list[Row]:
    connection = Connection("127.0.0.1", server.port)
    try:
        split = await _experiment(connection, server, world, seed, range(days), "split")
        drafted = await _experiment(
            connection, server, world, seed + 1, range(days, 2 * days), "interleaving"
        )
        return [*split, *drafted]
    finally:
        connection.close()


async def _experiment(
    connection: Connection, server: Server, world: World, seed: int, days: Sequence[int], kind: str
) -> list[Row]:
    """Run an experiment and compare its report with the truth."""
    definition = {
        "name": kind,
        "scenario": SCENARIO,
        "kind": kind,
        "arms": [{"name": "ranked"}, {"name": "unranked", "parameters": {"ranker": False}}],
    }
    await _called(connection, "POST", "/v1/experiments", definition)
    await _called(connection, "POST", f"/v1/experiments/{kind}/start", {})
    await asyncio.sleep(3.0)  # every replica has taken it up
    audience = Audience(server, world, seed)
    await audience.visit(days)
    shown = sum(truth.shown for truth in audience.truth.values())
    deadline = time.monotonic() + STORED_SECONDS
    while True:
        report = await _called(connection, "GET", f"/v1/experiments/{kind}/report")
        if _reported(report) >= shown or time.monotonic() > deadline:
            break
        await asyncio.sleep(1.0)
    outcomes = await _called(connection, "GET", f"/v1/reports/outcomes?experiment={kind}")
    await _called(connection, "POST", f"/v1/experiments/{kind}/stop", {"reason": "measured"})
    rows = [_agrees("Live: impressions of " + kind, _reported(report), shown)]
    rows += _split(report, audience.truth) if kind == "split" else _drafted(report, audience.truth)
    chances = sum(truth.chances for truth in audience.truth.values()) / shown
    rows.append(_inside(f"Live: outcomes of {kind}, click-through rate", outcomes["total"]["ctr"], chances))
    return rows


def _reported(report: dict[str, Any]) -> int:
    """Impressions of a report."""
    if report["interleaving"] is not None:
        return int(report["interleaving"]["impressions"])
    return sum(int(arm["impressions"]) for arm in report["arms"])


def _split(report: dict[str, Any], truth: dict[str | None, Truth]) -> list[Row]:
    rows = []
    rates = {}
    for arm in report["arms"]:
        true = truth[arm["name"]]
        rates[arm["name"]] = true.chances / true.shown
        rate = arm["metrics"]["click_through_rate"]
        rows.append(
            _agrees(f"Live: clicks of {arm['name']}", round(rate["value"] * arm["impressions"]), true.clicks)
        )
        rows.append(_inside(f"Live: click-through rate of {arm['name']}", rate, rates[arm["name"]]))
    compared = report["comparisons"][0]
    true_difference = rates["unranked"] - rates["ranked"]
    rows.append(_inside("Live: difference, at every look", compared["difference"], true_difference))
    sizes = report["sample_ratio"]
    found = f"{sizes['users'][0]} and {sizes['users'][1]} users, p {sizes['p_value']:.2f}"
    rows.append(Row("Live: sample ratio", found, "no mismatch", not sizes["mismatch"]))
    return rows


def _drafted(report: dict[str, Any], truth: dict[str | None, Truth]) -> list[Row]:
    found = report["interleaving"]
    counted = sum(found["clicks"]) + found["shared"]
    return [
        _agrees("Live: clicks of both arms and shared", counted, sum(true.clicks for true in truth.values())),
        Row(f"Live: preference for {found['arms'][1]}", _text(found["preference"])),
    ]


def _agrees(check: str, reported: int, true: int) -> Row:
    return Row(check, f"{reported:,} of {true:,}", "equal", reported == true)


def _inside(check: str, interval: dict[str, float | None], true: float) -> Row:
    low, high = interval["low"], interval["high"]
    inside = (low is None or low <= true) and (high is None or true <= high)
    return Row(check, f"{_text(interval)}, true {true:.4f}", "inside", inside)


def _text(interval: dict[str, float | None]) -> str:
    value, low, high = ("-" if number is None else f"{number:.4f}" for number in interval.values())
    return f"{value} ({low} to {high})"


async def _called(connection: Connection, method: str, path: str, body: object = None) -> Any:
    status, answer = await connection.call(method, path, body)
    if status >= 300:
        raise SystemExit(f"{method} {path} answered {status}: {answer}")
    return answer
