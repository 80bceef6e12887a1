"""How the pipeline calls plugin code of its own process: off the event loop, each kind with a deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from recserve.config import ServerConfig
from recserve.serving.guard.workers import WorkerPool

T = TypeVar("T")

_ITEM_ENCODER_MS = 30_000
"""Whoever writes items waits for their vectors, so this is no deadline of a request for recommendations."""


class PluginCall(StrEnum):
    """The kinds of plugin code that run in the pipeline's own process."""

    FILTER = "filter"
    RULES = "rules"
    FALLBACK = "fallback"
    RERANKER = "reranker"
    EXPLAINER = "explainer"
    ITEM_TEXT = "item_text"
    ITEM_ENCODER = "item_encoder"
    CATALOGUE = "catalogue"


class PluginCalls(Protocol):
    """How plugin code is called."""

    async def run(self, kind: PluginCall, name: str, call: Callable[..., T], *arguments: Any) -> T:
        """Call plugin code.

        Args:
            kind: What is called.
            name: Name of the component, with its scenario.
            call: The function.
            *arguments: Its arguments.

        Raises:
            StageError: It failed, is late, or its earlier calls hang.
            RecserveError: What it raised, if it is one of ours.
        """
        ...


class GuardedCalls:
    """Calls in threads of a pool, with the deadlines of a server's configuration.

    Args:
        server: The deadlines.
        pool: The threads; None makes a pool.
    """

    def __init__(self, server: ServerConfig | None = None, pool: WorkerPool | None = None) -> None:
        self.pool = pool or WorkerPool()
        self._seconds = _deadlines(server or ServerConfig())

    async def run(self, kind: PluginCall, name: str, call: Callable[..., T], *arguments: Any) -> T:
        """See :meth:`PluginCalls.run`."""
        return await self.pool.run(f"{kind}:{name}", self._seconds[kind], call, *arguments)


def _deadlines(server: ServerConfig) -> Mapping[PluginCall, float]:
    milliseconds = {
        PluginCall.FILTER: server.filter_deadline_ms,
        PluginCall.RULES: server.reranking_deadline_ms,
        PluginCall.FALLBACK: server.retrieval.deadline_ms,
        PluginCall.RERANKER: server.reranking_deadline_ms,
        PluginCall.EXPLAINER: server.explaining_deadline_ms,
        PluginCall.ITEM_TEXT: server.encoding.deadline_ms,
        PluginCall.ITEM_ENCODER: _ITEM_ENCODER_MS,
        PluginCall.CATALOGUE: server.catalogue_deadline_ms,
    }
    return {kind: value / 1000 for kind, value in milliseconds.items()}
