"""pluggy markers and hook specifications.

A plugin is a module (or object) behind an entry point of the group ``recserve`` that implements any
of these hooks with ``@recserve.hookimpl``. ``register_*`` hooks are called once, when the plugin is
loaded; the two observers are called while serving, and only if some plugin implements them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from recserve.data.entities import Event
from recserve.plugin.protocols import Component

PROJECT = "recserve"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookSpecs:
    """The hooks, each documented where it is declared."""

    @hookspec
    def register_retrievers(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.Retriever`."""
        return ()

    @hookspec
    def register_encoders(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.Encoder`."""
        return ()

    @hookspec
    def register_rankers(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.Ranker`."""
        return ()

    @hookspec
    def register_rerankers(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.Reranker`."""
        return ()

    @hookspec
    def register_filters(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.Filter`."""
        return ()

    @hookspec
    def register_explainers(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.Explainer`."""
        return ()

    @hookspec
    def register_item_texts(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.ItemText`."""
        return ()

    @hookspec
    def register_item_encoders(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.ItemEncoder`."""
        return ()

    @hookspec
    def register_datasets(self) -> Sequence[Component]:
        """Components whose factory builds a :class:`recserve.DataSource`."""
        return ()

    @hookspec
    def after_recommend(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Observe a served batch: one mapping an answer, as sent to the client.

        Called off the request's path; what it raises is logged and otherwise ignored.
        """

    @hookspec
    def on_events(self, events: Sequence[Event]) -> None:
        """Observe events once they are durable. What it raises is logged and otherwise ignored."""
