"""Calls about events.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from recserve_client.answers import EventsDeleted
from recserve_client.core.sending import Call, Sender


class EventsCalls(Sender):
    """Calls about events."""

    def delete_events(self, *, user_id: str, item_id: str) -> EventsDeleted:
        """Take back what a user did with an item.

        All events of the user with the item. They do not count in the very next recommendation, and
        a late retry does not bring them back.

        Args:
            user_id: Whose events.
            item_id: Of which item.
        """
        return self._send(
            Call(
                "DELETE",
                "/v1/events",
                EventsDeleted,
                repeatable=True,
                query={"user_id": user_id, "item_id": item_id},
            )
        )

    def delete_event(self, event_id: str) -> EventsDeleted:
        """Take an event back.

        It does not count in the very next recommendation. Its `event_id` cannot be used again.

        Args:
            event_id: As it is; the client encodes it.
        """
        return self._send(
            Call("DELETE", Call.path("/v1/events/{event_id}", event_id), EventsDeleted, repeatable=True)
        )
