"""What a client finds out by asking one request at a time: lists of the protocol, and effects of an event."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from benchmarks.compared.protocol import K, Protocol
from benchmarks.compared.wires import Wire

N = 10
WAIT_SECONDS = 30.0


class Client:
    """Asks a server over one connection.

    Args:
        port: The server's port, on loopback.
        wire: How it is spoken to.
    """

    def __init__(self, port: int, wire: Wire) -> None:
        self.wire = wire
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_SECONDS, trust_env=False)

    def ask(
        self,
        user: str,
        history: Sequence[str],
        n: int,
        untold: int = 0,
        had: Sequence[str] | None = None,
    ) -> list[str] | None:
        """Items for a user; None where the server says that it cannot (404 or 422).

        Args:
            user: For whom.
            history: See :meth:`benchmarks.compared.wires.Wire.body`.
            n: How many.
            untold: Likewise.
            had: What the client removes; None for the history.

        Raises:
            RuntimeError: Any other answer than 200.
        """
        answer = self._http.post(self.wire.path, json=self.wire.body(user, history, n, untold))
        if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
            return None
        if answer.status_code != HTTPStatus.OK:
            raise RuntimeError(f"{self.wire.name}: {answer.status_code}: {answer.text[:300]}")
        return self.wire.items(answer.json(), history if had is None else had, n)

    def tell(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Have events stored; of a wire that takes none nothing is sent.

        Raises:
            RuntimeError: They were refused.
        """
        if not events or not self.wire.takes_events:
            return
        named = [{**event, "event_id": uuid.uuid4().hex} for event in events]
        answer = self._http.post("/v1/events", json={"events": named})
        if not answer.is_success:
            raise RuntimeError(f"{self.wire.name}: events: {answer.status_code}: {answer.text[:300]}")

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


@dataclass(frozen=True)
class Lists:
    """What a server answered to the questions of a protocol.

    Attributes:
        lists: Item ids, one list a question.
        refused: Questions that the server could not answer at all.
        short: Lists that were shorter than asked for, the refused ones not counted.
    """

    lists: list[list[str]]
    refused: int
    short: int


def follow(client: Client, protocol: Protocol) -> Lists:
    """Tell a server the later events as they came and ask it before each."""
    lists, refused, short = [], 0, 0
    for asked in protocol.questions():
        client.tell(asked.told)
        found = client.ask(asked.user, asked.history, K, asked.untold)
        refused += found is None
        short += found is not None and len(found) < K
        lists.append(found or [])
    return Lists(lists, refused, short)


@dataclass
class Effects:
    """What one event does to the next answer.

    Attributes:
        tried: Users who were shown ten items and had an event on the first.
        changed: Of them, those whose very next answer was another list, without it.
        milliseconds: From sending the event to having that answer.
        stranger: Whether somebody of whom nothing is known gets ten items.
        newcomer: Whether the same person does after a first event.
        possible: Whether there is any way to tell of an event.
    """

    tried: int = 0
    changed: int = 0
    milliseconds: list[float] = field(default_factory=list)
    stranger: bool = False
    newcomer: bool = False
    possible: bool = True


def effects(client: Client, histories: Mapping[str, Sequence[str]]) -> Effects:
    """Have users like the first item of their page and ask again.

    Args:
        client: Of the server.
        histories: Users, with what they did before.
    """
    wire, found = client.wire, Effects()
    found.possible = wire.takes_events or not wire.keeps_history
    unknown = f"stranger-{uuid.uuid4().hex[:8]}"
    found.stranger = len(client.ask(unknown, (), N) or ()) == N
    first = next(iter(histories.values()))[-1]
    if found.possible:
        client.tell([_like(unknown, first)])
        found.newcomer = len(client.ask(unknown, [first], N) or ()) == N
    for user, history in histories.items():
        before = client.ask(user, history, N)
        if not found.possible or not before:
            continue
        found.tried += 1
        started = time.perf_counter()
        client.tell([_like(user, before[0])])
        # What the user just liked is left to the server: is it gone?
        after = client.ask(user, [*history, before[0]], N, had=history)
        found.milliseconds.append((time.perf_counter() - started) * 1000)
        found.changed += bool(after) and before[0] not in (after or ()) and after != before
    return found


def _like(user: str, item: str) -> dict[str, str]:
    return {"user_id": user, "item_id": item, "event": "like"}
