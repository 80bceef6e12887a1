"""Sink: changes of the store that are passed on, each at least once, from where the sink stood.

The position is in the store itself and moves after the other side has acknowledged. One process at a time
sends for a sink; others of its name wait and take over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from recserve.config import SinkConfig
from recserve.data.entities import now_ms
from recserve.errors import RecserveError, StoreError
from recserve.store import Store
from recserve.store.streams import StreamKind
from recserve.streams.counts import StreamCounts
from recserve.streams.outgoing import Change, Follower, Page
from recserve.streams.waiting import Backoff, Stop, StoppedError

logger = logging.getLogger("recserve.streams")

SEND_SECONDS = 120.0
"""How long one page may take, halved batches of a webhook included."""
LEASE_MS = 30_000
"""A sender that was not heard of for so long has ended; another one takes over."""


class TargetError(RecserveError):
    """What changes are sent to cannot be reached or does not take any now; sending again may help.

    Args:
        message: One line.
        retry_after: Seconds that the other side asks for.
    """

    code = "target_unavailable"
    status = 503

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(NamedTuple):
    """One change that the other side will never take.

    Attributes:
        change: The change.
        reason: Why.
    """

    change: Change
    reason: str


class Target(Protocol):
    """Protocol of what changes are sent to."""

    async def send(self, changes: Sequence[Change]) -> Sequence[Refused]:
        """Send changes in their order; they are acknowledged when this returns.

        Returns:
            Those that were refused for good.

        Raises:
            TargetError: Some may not have been taken; all are to be sent again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Sink:
    """Sender of a store's changes to a target.

    Args:
        store: The store.
        name: Name of the sink, under which its position is kept.
        config: What is sent, and how often.
        target: Where to.
        counts: Counts what becomes of the changes.
        until_end: End once everything is sent that was there.
        patience: Seconds without any success after which it ends with an error; None for never.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        config: SinkConfig,
        target: Target,
        counts: StreamCounts,
        *,
        until_end: bool = False,
        patience: float | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._config = config
        self._target = target
        self._counts = counts
        self._until_end = until_end
        self._patience = patience
        self._follower = Follower(store, config.kinds, config.batch)
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease = f"stream:{name}"
        self._leads_until = 0
        self._waiting = False

    async def run(self, stop: Stop) -> None:
        """Send until asked to stop, or until the end.

        Raises:
            RuntimeEnvironmentError: Nothing has worked for as long as the patience.
        """
        backoff = Backoff(stop, self._patience)
        try:
            while not stop:
                try:
                    if await self._round(stop, backoff) and self._until_end:
                        return
                except StoppedError:
                    return
                except StoreError as error:
                    logger.warning("%s; trying again within %.1f s", error.message, backoff.next_seconds)
                    await backoff.wait(error.message)
                else:
                    await stop.sleep(self._config.every_seconds)
        finally:
            await self._target.close()
            await self._step_down()

    async def _round(self, stop: Stop, backoff: Backoff) -> bool:
        """Send everything that is there; returns whether that was done."""
        if not await self._leads():
            backoff.check(f"another process sends for the sink {self._name}")
            return False
        position = await asyncio.to_thread(self._position)
        pages = self._follower.pages(position)
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            if not await self._deliver(page, stop, backoff):
                return False
            position[page.kind] = page.reached
            await asyncio.to_thread(self._store.move_stream, self._name, {page.kind: page.reached})
            backoff.succeeded()
            self._counts.say()
        self._counts.behind(await asyncio.to_thread(self._follower.behind, position))
        self._counts.say()
        backoff.succeeded()
        return True

    def _position(self) -> dict[StreamKind, int]:
        """Where the sink stands; that of a new one, or of a kind that is new to it, is noted at once."""
        position = self._store.stream_position(self._name)
        new = [kind for kind in self._follower.kinds if kind not in position]
        if new:
            newest = self._store.newest_numbers() if self._config.begin == "latest" else {}
            begun: dict[StreamKind, int] = {kind: newest.get(kind, 0) for kind in new}
            self._store.move_stream(self._name, begun)
            position.update(begun)
        return position

    async def _deliver(self, page: Page, stop: Stop, backoff: Backoff) -> bool:
        """Send a page; returns whether it was taken, or else another process leads or an end is asked for."""
        while not stop and await self._leads():
            try:
                refused = await self._sent(page.changes, stop)
            except TargetError as error:
                logger.warning(
                    "sink %s: %s; trying again within %.1f s",
                    self._name,
                    error.message,
                    max(backoff.next_seconds, error.retry_after),
                )
                await backoff.wait(error.message, error.retry_after)
            else:
                self._counts.count(page.kind, "sent", len(page.changes) - len(refused))
                self._counts.count(page.kind, "refused", len(refused))
                for change, reason in refused:
                    self._counts.refuse(f"{change.type} {change.number} ({change.id[:80]})", reason)
                return True
        return False

    async def _sent(self, changes: Sequence[Change], stop: Stop) -> Sequence[Refused]:
        """Send changes once; returns those that were refused for good.

        Raises:
            StoppedError: Somebody asked to end; they may or may not have been taken.
            TargetError: They may not have been taken.
        """
        if not changes:
            return ()
        try:
            return await stop.unless(self._target.send(changes), SEND_SECONDS)
        except TimeoutError as error:
            raise TargetError(str(error)) from None

    async def _leads(self) -> bool:
        """Whether this process sends for the sink, as far as the next page."""
        now = now_ms()
        if now < self._leads_until - LEASE_MS // 2:
            return True
        until = now + LEASE_MS
        led = self._leads_until > 0
        leads = await asyncio.to_thread(self._store.lease, self._lease, self._holder, until, now)
        if not leads and (led or not self._waiting):
            logger.info("another process sends for the sink %s; waiting to take over", self._name)
        self._waiting = not leads
        self._leads_until = until if leads else 0
        return leads

    async def _step_down(self) -> None:
        """Let another process lead at once."""
        if self._leads_until:
            try:
                await asyncio.to_thread(self._store.lease, self._lease, self._holder, 0, now_ms())
            except StoreError as error:  # it takes over when the lease ends
                logger.info("the sink %s could not step down: %s", self._name, error.message)
